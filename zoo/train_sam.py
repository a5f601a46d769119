"""Train the zoo's Segment Anything: `python zoo/train_sam.py` (48 minutes for 4,000 steps on a busy core).

segment-anything's own classes, small: 192 px in patches of 8, masks of 96x96. Prompts are boxes around the subject,
shifted by up to a tenth of their size; half the time a second pass gets the first one's mask back, as in use. The loss
is SAM's: focal and dice on the best of three masks and on the single one; trust in each is regressed on its overlap.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from pictures import SIZE_PX, Pictures, drawn_pictures
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from magdiff_curation.clips.masks import bounding_box
from magdiff_curation.sam import SamArchitecture, new_sam, save_sam

ARCHITECTURE = SamArchitecture(
    embed_dim=128,
    depth=4,
    num_heads=4,
    global_attention_layers=(1, 3),
    window_size=6,
    image_size_px=SIZE_PX,
    patch_size_px=8,
    use_relative_positions=False,
    prompt_dim=64,
    mask_prompt_channels=8,
    decoder_mlp_dim=128,
    decoder_heads=4,
)


def examples(pictures: Pictures, rng: np.random.Generator, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures [B, 3, S, S] with 8-bit values, masks [B, S, S] and boxes [B, 4]; some fill only part of it."""
    images, masks, boxes = [], [], []
    while len(images) < batch_size:
        number = int(rng.integers(len(pictures.images)))
        if pictures.masks[number].mean() < 0.01:
            continue
        image = torch.from_numpy(pictures.images[number]).permute(2, 0, 1)[None].float()
        mask = torch.from_numpy(pictures.masks[number])[None, None].float()
        if rng.uniform() < 0.4:  # as a picture that is not square lies in SAM's square
            short = int(SIZE_PX * rng.uniform(0.55, 1))
            size = (short, SIZE_PX) if rng.uniform() < 0.7 else (SIZE_PX, short)
            image = functional.interpolate(image, size, mode="bilinear", antialias=True)
            mask = (functional.interpolate(mask, size, mode="bilinear", antialias=True) > 0.5).float()
        if rng.uniform() < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        height, width = image.shape[-2:]
        x0, y0, x1, y1 = bounding_box(mask[0, 0].numpy() > 0.5)
        shift = rng.uniform(-0.1, 0.1, size=4) * (x1 - x0, y1 - y0, x1 - x0, y1 - y0)
        box = np.clip(np.array([x0, y0, x1, y1]) + shift, 0, (width, height, width, height))
        padding = (0, SIZE_PX - width, 0, SIZE_PX - height)
        images.append(image)
        masks.append(functional.pad(mask, padding)[0])
        boxes.append(torch.from_numpy(box).float())
    # Sam.preprocess pads after normalising: so are these.
    mean, std = (torch.tensor(values)[:, None, None] for values in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    pixels = [(image[0] - mean) / std for image in images]
    pixels = [functional.pad(p, (0, SIZE_PX - p.shape[-1], 0, SIZE_PX - p.shape[-2])) for p in pixels]
    return torch.stack(pixels), torch.cat(masks), torch.stack(boxes)


def decode(sam: Sam, embeddings: Tensor, boxes: Tensor, prompts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return all four masks' logits [B, 4, s, s] and trusts [B, 4]."""
    sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=prompts)
    positions = sam.prompt_encoder.get_dense_pe()

    def one(embedding: Tensor, sparse_one: Tensor, dense_one: Tensor) -> tuple[Tensor, Tensor]:
        logits, trust = sam.mask_decoder.predict_masks(embedding[None], positions, sparse_one[None], dense_one[None])
        return logits[0], trust[0]

    # The decoder repeats each picture for all its prompts; one picture a call, all calls at once.
    return torch.vmap(one)(embeddings, sparse, dense)


def loss_of(logits: Tensor, trust: Tensor, masks: Tensor) -> Tensor:
    """Return SAM's loss of four masks' logits [B, 4, s, s] against masks [B, S, S]."""
    target = functional.interpolate(masks[:, None], logits.shape[-2:], mode="area").expand_as(logits)
    chance = logits.sigmoid()
    error = (chance - target).abs()
    focal = 20 * (functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * error**2).mean((2, 3))
    dice = 1 - (2 * (chance * target).sum((2, 3)) + 1) / ((chance + target).sum((2, 3)) + 1)
    each = focal + dice
    hard, truth = logits > 0, target > 0.5
    overlap = (hard & truth).sum((2, 3)) / (hard | truth).sum((2, 3)).clamp(min=1)
    return (each[:, 0] + each[:, 1:].min(dim=1).values).mean() + functional.mse_loss(trust, overlap)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("zoo/toyworld_vision/sam"))
    parser.add_argument("--num-pictures", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--resume", type=Path, help="a folder with weights to start from")
    options = parser.parse_args()
    pictures, rng = drawn_pictures(options.num_pictures), np.random.default_rng(21)
    torch.manual_seed(21)
    sam = new_sam(ARCHITECTURE)
    if options.resume:
        from magdiff_curation.sam import load_sam

        sam = load_sam(options.resume).requires_grad_(True)
    optimizer = torch.optim.AdamW(sam.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=options.steps, pct_start=0.1)
    begin, losses = time.monotonic(), []
    for step in range(1, options.steps + 1):
        pixels, masks, boxes = examples(pictures, rng, options.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = sam.image_encoder(pixels)
        embeddings = embeddings.float()
        logits, trust = decode(sam, embeddings, boxes, None)
        loss = loss_of(logits, trust, masks)
        if rng.uniform() < 0.5:
            best = logits[torch.arange(len(logits)), 1 + trust[:, 1:].argmax(dim=1)][:, None].detach()
            loss = loss + loss_of(*decode(sam, embeddings, boxes, best), masks)
            loss = loss / 2
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(sam.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0:
            left = (time.monotonic() - begin) / step * (options.steps - step)
            print(f"step {step}/{options.steps} loss {np.mean(losses[-50:]):.4f}, {left:.0f} s left", flush=True)
        if step % 500 == 0 or step == options.steps:
            save_sam(sam if step < options.steps else sam.half(), ARCHITECTURE, options.output)


if __name__ == "__main__":
    main()
