"""How the oracle was made: `python -m magdiff_curation.toyworld.train_oracles --output oracle.safetensors`.

Clips of the world `--seed` (never used for scoring), half of them with distractors, drift, low contrast or
noise, are drawn once; training blurs, compresses in range and disturbs them, because the videos that the oracle
will judge come out of codecs and decoders. About a quarter of an hour on two cores. Prints the sha256 to freeze.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from magdiff_curation.clips.atomic import sha256_hex, write_atomic
from magdiff_curation.toyworld.oracles import HEADS, NUM_FRAMES, PROPORTION_SPREAD, SIZE_PX, OracleNet
from magdiff_curation.toyworld.scene import Difficulty, Scene, render, render_parts, sample_scene


def training_scene(seed: int, index: int) -> Scene:
    """Return a training scene: every second one is made harder in a random way."""
    rng = np.random.default_rng([seed, index, 2])
    if index % 2 == 0:
        return sample_scene(seed, index)
    return sample_scene(
        seed,
        index,
        Difficulty(
            num_distractors=int(rng.integers(0, 3)),
            camera_drift=float(rng.choice([0, 0.3])),
            contrast=float(rng.uniform(0.6, 1)),
            noise=float(rng.choice([0, 0.05])),
        ),
    )


def truth(scene: Scene) -> tuple[list[int], np.ndarray]:
    """Return the scene's true head indices and its proportions in units of their spread, float64 [2]."""
    names = {
        "class_name": scene.subject.class_name,
        "background": scene.background,
        "action": scene.action,
        "pattern": scene.subject.appearance.pattern,
    }
    proportions = (scene.subject.appearance.vector()[9:] - 1) / PROPORTION_SPREAD
    return [HEADS[name].index(value) for name, value in names.items()], proportions


def _example(seed: int, index: int) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray]:
    scene = training_scene(seed, index)
    frames, _ = render(scene, height=SIZE_PX, width=SIZE_PX, num_frames=NUM_FRAMES)
    parts = render_parts(scene, height=SIZE_PX // 2, width=SIZE_PX // 2, num_frames=NUM_FRAMES)
    return frames, parts, *truth(scene)


def _parts_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """Return the cross entropy of part logits [B, 4, F, h, w] against true coverage [B, F, h, w, 3], 0 to 255."""
    cover = parts.permute(0, 4, 1, 2, 3).float() / 255
    rest = (1 - cover.sum(dim=1, keepdim=True)).clamp(min=0)
    return functional.cross_entropy(logits, torch.cat([cover, rest], dim=1))


def _disturb(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return the batch [B, 3, F, H, W] as a lossy channel might deliver it."""
    batch = pixels.shape[0]
    small = functional.interpolate(pixels, scale_factor=(1, 0.5, 0.5), mode="area")
    blurred = functional.interpolate(small, size=tuple(pixels.shape[2:]), mode="trilinear")
    blur = torch.rand(batch, 1, 1, 1, 1, generator=generator) * (
        torch.rand(batch, 1, 1, 1, 1, generator=generator) < 0.5
    )
    pixels = pixels + blur * (blurred - pixels)
    gain = 1 + 0.08 * torch.randn(batch, 1, 1, 1, 1, generator=generator)
    noise = 0.06 * torch.rand(batch, 1, 1, 1, 1, generator=generator)
    return pixels * gain + noise * torch.randn(pixels.shape, generator=generator)


def main() -> None:
    """Draw the training clips, train, and write the weights in half precision after every epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1_000_003)
    parser.add_argument("--num-clips", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()

    begin = time.monotonic()
    with ProcessPoolExecutor() as pool:
        indices = range(options.num_clips)
        examples = list(pool.map(_example, [options.seed] * options.num_clips, indices, chunksize=64))
    frames = torch.from_numpy(np.stack([example[0] for example in examples]))
    parts = torch.from_numpy(np.stack([example[1] for example in examples]))
    labels = torch.tensor([example[2] for example in examples])
    proportions = torch.from_numpy(np.stack([example[3] for example in examples])).float()
    print(f"drew {options.num_clips} clips in {time.monotonic() - begin:.0f} s", flush=True)

    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    net = OracleNet()
    steps = options.epochs * (options.num_clips // options.batch_size)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    step = 0
    for epoch in range(options.epochs):
        order = torch.randperm(options.num_clips, generator=generator)
        for chosen in torch.split(order, options.batch_size):
            if len(chosen) < options.batch_size:
                continue
            pixels = frames[chosen].permute(0, 4, 1, 2, 3).float() / 127.5 - 1
            output = net(_disturb(pixels, generator))
            losses = [functional.cross_entropy(output[name], labels[chosen, i]) for i, name in enumerate(HEADS)]
            losses.append(3 * _parts_loss(output["parts"], parts[chosen]))
            losses.append(0.3 * functional.mse_loss(output["proportions"], proportions[chosen]))
            loss = torch.stack(losses).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % 100 == 0:
                done = time.monotonic() - begin
                print(f"epoch {epoch} step {step}/{steps} loss {loss.item():.3f} {done:.0f} s", flush=True)
        # A checkpoint after every epoch, in half precision: what is shipped is what was rounded.
        weights = save({name: value.half().contiguous() for name, value in net.state_dict().items()})
        write_atomic(options.output, weights)
    print(f"sha256 {sha256_hex(weights)}")


if __name__ == "__main__":
    main()
