"""Train the zoo's zero-shot detector: `python zoo/train_detector.py` (39 minutes for 3,500 steps on a busy core).

OWL-ViT (Minderer et al., ECCV 2022) in transformers' class, small: 96 px in patches of 8, 144 boxes. Every patch on the
subject must find the subject's nouns and its box; every other word, and every other patch, must stay under. So that it
knows what it does not know, an eighth of the pictures hold nothing: toyworld pictures in shuffled blocks, and crops of
the two photographs that scikit-learn ships. Distractors' classes are left out of their pictures' loss.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from pictures import Pictures, drawn_pictures, nothing, smaller
from safetensors.torch import load_model
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss
from transformers import (
    CLIPTokenizer,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessor,
    OwlViTProcessor,
    OwlViTTextConfig,
    OwlViTVisionConfig,
)

from magdiff_curation.clips.masks import bounding_box
from magdiff_curation.labels import load_subject_words
from magdiff_curation.toyworld.captions import NOUNS

SIZE_PX, PATCH_PX, NUM_TOKENS = 96, 8, 16
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
WORDS = [noun for nouns in NOUNS.values() for noun in nouns]


def new_tokenizer() -> CLIPTokenizer:
    """Return the text encoder's tokenizer with a number for padding put before all others.

    OWL-ViT takes a text that begins with the number 0 for padding; there, the zoo's other tokenizer has its start.
    """
    stored = json.loads(Path("zoo/toyworld/tokenizer/tokenizer.json").read_text(encoding="utf-8"))["model"]
    vocabulary = {"<pad>": 0} | {name: number + 1 for name, number in stored["vocab"].items()}
    merges = [tuple(merge) for merge in stored["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token="<pad>", model_max_length=NUM_TOKENS)


def new_detector(tokenizer: CLIPTokenizer) -> OwlViTForObjectDetection:
    """Return the untrained model, 1.7M parameters."""
    text = OwlViTTextConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=NUM_TOKENS, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    vision = OwlViTVisionConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=6, num_attention_heads=4,
        image_size=SIZE_PX, patch_size=PATCH_PX,
    )  # fmt: skip
    config = OwlViTConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=64)
    # On a CPU the fused attention is slow with narrow heads, going back most of all.
    model = OwlViTForObjectDetection._from_config(config, attn_implementation="eager")
    for layer in (*model.class_head.modules(), *model.box_head.modules()):
        if isinstance(layer, nn.Linear):  # the class starts its heads at a deviation of one: boxes begin saturated
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    nn.init.constant_(model.class_head.logit_shift.bias, -2.0)
    return model


def targets(pictures: Pictures, chosen: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Return which patches lie on the subject [B, P], its box [B, 4] (0 to 1), and each word's state [B, words].

    A word is 1 for the subject, -1 where a distractor may be meant, else 0.
    """
    grid = SIZE_PX // PATCH_PX
    masks = torch.from_numpy(pictures.masks[chosen])[:, None].float()
    cover = functional.adaptive_avg_pool2d(masks, grid).flatten(1)
    on = (cover > 0.5) | (cover == cover.max(dim=1, keepdim=True).values)
    sides = pictures.masks.shape[1]
    boxes = torch.tensor([bounding_box(pictures.masks[number]) for number in chosen]) / sides
    state = torch.zeros(len(chosen), len(WORDS))
    for row, number in enumerate(chosen):
        scene = pictures.scenes[number]
        for distractor in scene.distractors:
            state[row, [WORDS.index(noun) for noun in NOUNS[distractor.class_name]]] = -1
        state[row, [WORDS.index(noun) for noun in NOUNS[scene.subject.class_name]]] = 1
    return on, boxes.float(), state


def word_features(model: OwlViTForObjectDetection, tokenizer: CLIPTokenizer, words: list[str]) -> Tensor:
    """Return the words' embeddings [words, D]."""
    tokens = tokenizer(words, padding="max_length", truncation=True, max_length=NUM_TOKENS, return_tensors="pt")
    pooled = model.owlvit.text_model(**tokens).pooler_output
    return functional.normalize(model.owlvit.text_projection(pooled), dim=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("zoo/toyworld_vision/detector"))
    parser.add_argument("--num-pictures", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--resume", type=Path, help="a folder with weights to start from")
    options = parser.parse_args()
    pictures, rng = drawn_pictures(options.num_pictures), np.random.default_rng(options.seed)
    images = smaller(pictures.images, SIZE_PX)
    usable = np.flatnonzero(pictures.masks.mean(axis=(1, 2)) > 0.01)
    torch.manual_seed(options.seed)
    tokenizer = new_tokenizer()
    model = new_detector(tokenizer)
    if options.resume:
        load_model(model, options.resume / "model.safetensors", strict=False)
    others = [word for word in load_subject_words(None) if word not in WORDS]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.learning_rate, total_steps=options.steps, pct_start=0.1
    )
    num_nothing = options.batch_size // 8
    begin, losses = time.monotonic(), []
    for step in range(1, options.steps + 1):
        chosen = rng.choice(usable, options.batch_size)
        on, boxes, state = targets(pictures, chosen)
        batch = images[chosen].copy()
        batch[:num_nothing] = nothing(images, rng, num_nothing)
        on[:num_nothing], state[:num_nothing] = False, state[:num_nothing] * 0
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
        words = [str(rng.choice(["", "a ", "the "])) + word for word in WORDS]
        words += [str(rng.choice(["", "a ", "the "])) + str(word) for word in rng.choice(others, 10, replace=False)]
        state = functional.pad(state, (0, 10))
        with torch.autocast("cpu", torch.bfloat16):
            features, _ = model.image_embedder(pixels)
            queries = word_features(model, tokenizer, words)
        patches = features.float().flatten(1, 2)
        logits, _ = model.class_predictor(patches, queries.float().expand(len(batch), -1, -1), None)
        truth = (on[..., None] & (state == 1)[:, None]).float()
        chance = logits.sigmoid()
        wrong = (chance - truth).abs()
        each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * wrong**2
        each = each * (0.3 + 0.7 * truth) * (state != -1)[:, None]
        found = model.box_predictor(patches, features)[on]
        wanted = boxes[on.nonzero()[:, 0]]
        centre, half = found[:, :2], found[:, 2:] / 2
        corners = torch.cat([centre - half, centre + half], dim=1)
        box_loss = 5 * functional.l1_loss(corners, wanted) + generalized_box_iou_loss(corners, wanted, reduction="mean")
        loss = 4 * each.sum() / truth.sum() + box_loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        best = (chance.detach()[..., : len(WORDS)].amax(dim=1) * (state[:, : len(WORDS)] != -1)).argmax(dim=1)
        right = state.gather(1, best[:, None])[num_nothing:].mean()
        losses.append((loss.item(), box_loss.item(), right.item()))
        if step % 50 == 0:
            left = (time.monotonic() - begin) / step * (options.steps - step)
            mean = np.mean(losses[-50:], axis=0)
            print(
                f"step {step}/{options.steps} loss {mean[0]:.3f} box {mean[1]:.3f} word right {mean[2]:.3f}, "
                f"{left:.0f} s left",
                flush=True,
            )
        if step % 500 == 0 or step == options.steps:
            (model if step < options.steps else model.half()).save_pretrained(options.output)
            size = {"height": SIZE_PX, "width": SIZE_PX}
            pixels_as = OwlViTImageProcessor(size=size, image_mean=MEAN, image_std=STD)
            OwlViTProcessor(image_processor=pixels_as, tokenizer=tokenizer).save_pretrained(options.output)


if __name__ == "__main__":
    main()
