"""The committed weights are what their cards say: small, and past the autoencoder's gate."""

import numpy as np
import torch
from tests_support import ZOO

from magdiff_curation.toyworld.oracles import Oracle
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_eval.metrics.regions import error_inside
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.encoding import decode_latents, encode_frames


def test_the_zoo_is_at_most_15_megabytes() -> None:
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) <= 15e6


@torch.inference_mode()
def test_round_trips_keep_the_subject_and_every_truth() -> None:
    vae, oracle = load_pipeline(ZOO).vae, Oracle()
    errors, right = [], []
    for index in range(40):
        scene = sample_scene(20_000_004, index)
        frames, masks = render(scene, height=64, width=64, num_frames=8)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
        decoded = ((decode_latents(vae, encode_frames(vae, pixels))[0] + 1) * 127.5).round().byte()
        video = decoded.permute(0, 2, 3, 1).numpy()
        errors.append(error_inside(video, frames, masks))
        reading = oracle.read(video)
        right.append((reading.class_name, reading.background, reading.action))
        right[-1] = np.array(right[-1]) == (scene.subject.class_name, scene.background, scene.action)
    assert np.mean(errors) <= 0.03
    assert (np.mean(right, axis=0) >= 0.97).all()
