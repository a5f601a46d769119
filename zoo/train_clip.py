"""Train the zoo's text and image encoders: `python zoo/train_clip.py` (about five minutes on two cores).

A CLIP of toyworld in transformers' classes: 64x64 px in patches of 8, captions cut by a byte-level BPE that knows
toyworld's words whole and spells all others. Half the captions also name the subject's colours, as people's captions
do, so that image tokens carry them; the captions that the diffusion model is trained on never do. A third of the
pictures are subjects alone on CLIP's mean colour: what APA's image branch sees (paper, Section 3.2).
"""

from __future__ import annotations

import argparse
import colorsys
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from world import World, drawn_world

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.toyworld.appearance import Colour
from magdiff_curation.toyworld.captions import ACTION_PHRASES, BACKGROUND_PHRASES, NOUNS
from magdiff_curation.toyworld.scene import Scene

NUM_TOKENS, WIDTH = 32, 128
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
HUES = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
HELD_OUT_SEED = 20_000_003


def new_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer whose merges were learnt on toyworld's phrases; bytes spell every other word."""
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = [chr(letter) for letter in letters] + [chr(256 + number) for number in range(256 - len(letters))]
    names = ["<|startoftext|>", "<|endoftext|>", *spelled, *(f"{letter}</w>" for letter in spelled)]
    blank = CLIPTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[])
    phrases = [f"a {noun}" for nouns in NOUNS.values() for noun in nouns]
    phrases += [text for table in (ACTION_PHRASES, BACKGROUND_PHRASES) for texts in table.values() for text in texts]
    phrases += [f"that {hue} and" for hue in HUES]
    learnt = blank.train_new_from_iterator(phrases * 50, vocab_size=1200)
    # Training keeps only the bytes that it met: its merges go back on top of all of them.
    merges = [tuple(merge) for merge in json.loads(learnt.backend_tokenizer.to_str())["model"]["merges"]]
    names += ["".join(merge) for merge in merges]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=NUM_TOKENS)


def colour_name(colour: Colour) -> str:
    """Return the nearest of eight hue names."""
    return HUES[round(colorsys.rgb_to_hsv(*colour)[0] * len(HUES)) % len(HUES)]


def examples(world: World, rng: np.random.Generator, batch_size: int) -> tuple[Tensor, list[str], list[str]]:
    """Return pictures [B, 3, 64, 64], their captions, and what each caption means (equal texts of meaning: a match)."""
    clips, frames = rng.integers(len(world.frames), size=batch_size), rng.integers(8, size=batch_size)
    pixels = torch.from_numpy(world.frames[clips, frames]).permute(0, 3, 1, 2).float() / 127.5 - 1
    alone = rng.uniform(size=batch_size) < 1 / 3
    masks = torch.from_numpy(world.masks[clips, frames] | ~alone[:, None, None])[:, None]
    described = [describe(world.scenes[clip], rng, bool(only)) for clip, only in zip(clips, alone, strict=True)]
    return pixels * masks, [text for text, _ in described], [meaning for _, meaning in described]


def describe(scene: Scene, rng: np.random.Generator, alone: bool) -> tuple[str, str]:
    """Return a caption of a frame, with or without the subject's colours, and its meaning."""
    text = f"a {scene.noun}" if alone else scene.caption
    meaning = [scene.subject.class_name, "" if alone else scene.background]
    if rng.uniform() < 0.5:
        looks = scene.subject.appearance
        colours = f"{colour_name(looks.base)} and {colour_name(looks.second)}"
        text = text.replace(scene.noun, f"{colours} {scene.noun}", 1)
        meaning.append(colours)
    return text, "|".join(meaning)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return the untrained model, 1.6M parameters."""
    shared = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4, "projection_dim": 96}
    text = CLIPTextConfig(
        **shared,
        vocab_size=len(tokenizer),
        num_hidden_layers=3,
        max_position_embeddings=NUM_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(**shared, num_hidden_layers=4, image_size=64, patch_size=8)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=96))


@torch.inference_mode()
def measure(model: CLIPModel, tokenizer: CLIPTokenizer, num_clips: int = 500) -> dict[str, float]:
    """Return, on held-out clips, how often an image picks its background's and its class's text among ten."""
    world = drawn_world(num_clips, HELD_OUT_SEED)
    pixels = torch.from_numpy(world.frames[:, 4]).permute(0, 3, 1, 2).float() / 127.5 - 1
    image = functional.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
    scores = {}
    for name, texts, truth in (
        ("class", [f"a {nouns[0]}" for nouns in NOUNS.values()], [s.subject.class_name for s in world.scenes]),
        ("background", [p[0] for p in BACKGROUND_PHRASES.values()], [s.background for s in world.scenes]),
    ):
        tokens = tokenizer(texts, padding="max_length", return_tensors="pt")
        features = functional.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)
        names = list(NOUNS if name == "class" else BACKGROUND_PHRASES)
        best = (image @ features.T).argmax(dim=1)
        scores[name] = float(np.mean([names[i] == t for i, t in zip(best.tolist(), truth, strict=True)]))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("zoo/toyworld"))
    parser.add_argument("--num-clips", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()
    world, rng = drawn_world(options.num_clips), np.random.default_rng(8)
    torch.manual_seed(8)
    tokenizer = new_tokenizer()
    model = new_clip(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.5e-3, total_steps=options.steps, pct_start=0.1)
    begin = time.monotonic()
    for step in range(1, options.steps + 1):
        pixels, texts, meanings = examples(world, rng, options.batch_size)
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(**tokens, pixel_values=pixels).logits_per_image.float()
        numbers = torch.tensor([meanings.index(meaning) for meaning in meanings])
        matches = (numbers[:, None] == numbers[None]).float()
        targets = matches / matches.sum(dim=1, keepdim=True)
        loss = (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            left = (time.monotonic() - begin) / step * (options.steps - step)
            print(f"step {step}/{options.steps} loss {loss.item():.3f}, {left:.0f} s left", flush=True)
    whole = Path("data/zoo/clip")
    model.half().save_pretrained(whole)
    for kind, name in ((CLIPTextModelWithProjection, "text_encoder"), (CLIPVisionModelWithProjection, "image_encoder")):
        kind.from_pretrained(whole).half().save_pretrained(options.output / name)
    tokenizer.save_pretrained(options.output / "tokenizer")
    size = {"height": 64, "width": 64}
    CLIPImageProcessorPil(size=size, crop_size=size, image_mean=MEAN, image_std=STD).save_pretrained(
        options.output / "feature_extractor"
    )
    figures = measure(model.float(), tokenizer)
    write_atomic(options.output / "text_encoder" / "scores.json", json.dumps(figures, indent=1).encode())
    print(figures)


if __name__ == "__main__":
    main()
