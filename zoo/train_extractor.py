"""Train the extractor of toyworld's Fréchet distance and Inception Score: `python zoo/train_extractor.py` (one core).

The network learns to name action, class and background of clips, half of them of 8 frames and half of 16, drawn on the
fly from a world that nothing else draws from. Each is shown shifted by up to 3 px, and half of them spoilt by noise or
by squares, of which the network tells how strong they are: what only names things learns to look past faults, and a
distance must see them. Then it is scored on worlds held out, and its distances are measured: between two sets of true
clips, and from true clips to ones made worse. What is shipped, half precision, is what is measured. The same seed on
the same machine makes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from faults import WORSE, Videos, spoilt
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from magdiff_curation.clips.atomic import sha256_hex, write_atomic
from magdiff_curation.toyworld.scene import Scene, render, sample_scene
from magdiff_eval.metrics.frechet import frechet_distance_from_features
from magdiff_eval.metrics.inception import inception_score
from magdiff_eval.models.toyworld import (
    COMPARABLE,
    HEADS,
    NUM_FRAMES,
    SIZE_PX,
    ToyworldExtractor,
    extractor_inputs,
)

TRAINING_SEED = 2_000_007
HELD_OUT_SEED = 20_000_006
DISTANCE_SEEDS = (20_000_007, 20_000_008)
"""The true clips, and others that are compared with them."""
SHIFT_PX = 3
MAX_SECONDS = 600


def drawn(seed: int, numbers: range, num_frames: int) -> tuple[Videos, Tensor]:
    """Return clips of a world, uint8 [N, F, 64, 64, 3], and the indices of what they show, [N, heads]."""
    scenes = [sample_scene(seed, number) for number in numbers]
    videos = [render(scene, height=SIZE_PX, width=SIZE_PX, num_frames=num_frames)[0] for scene in scenes]
    return np.stack(videos), torch.tensor([_truth(scene) for scene in scenes])


def _truth(scene: Scene) -> list[int]:
    names = {"action": scene.action, "class_name": scene.subject.class_name, "background": scene.background}
    return [values.index(names[head]) for head, values in HEADS.items()]


def shifted(videos: Videos, rng: np.random.Generator) -> Videos:
    """Return every clip moved by up to 3 px in both axes; what comes in at an edge repeats it."""
    padded = np.pad(videos, ((0, 0), (0, 0), (SHIFT_PX, SHIFT_PX), (SHIFT_PX, SHIFT_PX), (0, 0)), mode="edge")
    places = rng.integers(0, 2 * SHIFT_PX + 1, size=(len(videos), 2))
    return np.stack(
        [clip[:, y : y + SIZE_PX, x : x + SIZE_PX] for clip, (y, x) in zip(padded, places.tolist(), strict=True)]
    )


@torch.inference_mode()
def accuracy(net: ToyworldExtractor, num_frames: int, num_clips: int) -> dict[str, float]:
    """Return the share of held-out clips whose action, class and background are named right."""
    videos, truth = drawn(HELD_OUT_SEED, range(num_clips), num_frames)
    named = [net.named(extractor_inputs(part)) for part in np.array_split(videos, max(1, num_clips // 32))]
    found = torch.stack([torch.cat([part[head] for part in named]).argmax(dim=1) for head in HEADS], dim=1)
    shares = (found == truth).double().mean(dim=0).tolist()
    return {head: round(share, 3) for head, share in zip(HEADS, shares, strict=True)}


@torch.inference_mode()
def seen(net: ToyworldExtractor, videos: Videos) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features [N, 64] and logits [N, 100]."""
    parts = [extractor_inputs(part) for part in np.array_split(videos, max(1, len(videos) // 32))]
    features, logits = (torch.cat([read(part) for part in parts]).numpy() for read in (net.features, net))
    return features, logits


def distances(net: ToyworldExtractor, num_clips: int) -> dict[str, object]:
    """Return Fréchet distances from true clips of 8 frames to other true clips, and to those made worse."""
    truth = seen(net, drawn(DISTANCE_SEEDS[0], range(num_clips), 8)[0])
    others = drawn(DISTANCE_SEEDS[1], range(num_clips), 8)[0]

    def distance(videos: Videos) -> float:
        return round(frechet_distance_from_features(truth[0], seen(net, videos)[0]), 3)

    worse = {name: [distance(worsen(others)) for worsen in pair] for name, pair in WORSE.items()}
    score = round(inception_score(truth[1])[0], 2)
    return {"clips": num_clips, "same distribution": distance(others), "worse": worse, "inception score": score}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("zoo/toyworld_extractor"))
    parser.add_argument("--num-clips", type=int, default=7_000)
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=29)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    begin, rng = time.monotonic(), np.random.default_rng(options.seed)
    each = options.num_clips // len(NUM_FRAMES)
    clips = [drawn(TRAINING_SEED, range(i * each, (i + 1) * each), frames) for i, frames in enumerate(NUM_FRAMES)]
    print(f"drew {options.num_clips} clips in {time.monotonic() - begin:.0f} s", flush=True)
    net = ToyworldExtractor().train()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.learning_rate, total_steps=options.steps, pct_start=0.15
    )
    for step in range(1, options.steps + 1):
        videos, truth = clips[step % len(clips)]
        chosen = rng.integers(len(videos), size=options.batch_size)
        shown, strengths = spoilt(shifted(videos[chosen], rng), rng)
        features = net.features(extractor_inputs(shown))
        named = net.named_by(features)
        losses = [functional.cross_entropy(named[head], truth[chosen, i]) for i, head in enumerate(HEADS)]
        losses.append(functional.smooth_l1_loss(net.faults(features), strengths))
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            told = ", ".join(
                f"{head} {value.item():.2f}" for head, value in zip((*HEADS, "faults"), losses, strict=True)
            )
            print(f"step {step}/{options.steps}: {told}; {time.monotonic() - begin:.0f} s", flush=True)
    seconds = time.monotonic() - begin
    weights = save({name: value.half().contiguous() for name, value in net.state_dict().items()})
    net.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
    net.eval()
    write_atomic(options.output / "extractor.safetensors", weights)
    card = {
        "what": COMPARABLE,
        "sha256": sha256_hex(weights),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "made by": "zoo/train_extractor.py",
        "settings": {name: value for name, value in vars(options).items() if name != "output"},
        "seconds": round(seconds),
        "seeds": {"training": TRAINING_SEED, "accuracy": HELD_OUT_SEED, "distances": list(DISTANCE_SEEDS)},
        "accuracy on 500 clips": {f"{frames} frames": accuracy(net, frames, 500) for frames in NUM_FRAMES},
        "frechet distance": distances(net, 500),
    }
    write_atomic(options.output / "card.json", json.dumps(card, indent=1).encode() + b"\n")
    print(json.dumps(card, indent=1))
    if seconds > MAX_SECONDS:
        print(f"training took {seconds:.0f} s, more than {MAX_SECONDS}: give fewer --steps")


if __name__ == "__main__":
    main()
