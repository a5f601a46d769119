"""Toyworld in the folder layouts of the paper's four benchmarks, so that each runs offline on a real tree.

- LOVEU-TGVE 2023 (DAVIS): `LOVEU-TGVE-2023_Dataset.csv`, `DAVIS_480p/480p_frames/<video>/00000.jpg` and
  `DAVIS_480p/480p_videos/<video>.mp4`, four edited captions a video; and, as DAVIS itself has them, the subjects'
  masks in `Annotations/480p/<video>/00000.png`.
- UCF-101: `UCF-101/<Class>/v_<Class>_g01_c01.avi` (MPEG-4 in avi, 320x240) and `ucfTrainTestlist/`.
- MSR-VTT: `TestVideo/video<N>.mp4` and `test_videodatainfo.json`, 20 captions a video.
- DreamBooth: `dataset/<subject>/00.jpg` to `04.jpg` and `dataset/prompts_and_classes.txt`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.masks import Frames, Image
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.actions import ACTIONS
from magdiff_curation.toyworld.appearance import sample_appearance
from magdiff_curation.toyworld.backgrounds import BACKGROUNDS
from magdiff_curation.toyworld.captions import BACKGROUND_PHRASES, caption, plain_caption
from magdiff_curation.toyworld.scene import Scene, render, sample_scene
from magdiff_curation.toyworld.shapes import CLASSES


def write_davis(output: Path, num_videos: int = 16, seed: int = 0) -> None:
    """Write a folder in LOVEU-TGVE's layout: 480x480 px frames, 32 a video."""
    rows = []
    for index in range(num_videos):
        scene, rng = sample_scene(seed, index), np.random.default_rng([seed, index, 3])
        name = f"{scene.subject.class_name}-{index:02d}"
        frames, masks = render(scene, height=480, width=480, num_frames=32)
        folder = output / "DAVIS_480p"
        for number, image in enumerate(frames):
            _write_jpeg(folder / "480p_frames" / name / f"{number:05d}.jpg", image)
        for number, mask in enumerate(masks):
            _write_png(output / "Annotations" / "480p" / name / f"{number:05d}.png", mask.astype(np.uint8) * 255)
        write_atomic(folder / "480p_videos" / f"{name}.mp4", encode(frames, 8))
        class_name, action, background = scene.subject.class_name, scene.action, scene.background
        other_class = _other(rng, list(CLASSES), class_name)
        other_background = _other(rng, list(BACKGROUNDS), background)
        truth = plain_caption(class_name, action, background)
        rows.append(
            {
                "Video name": name,
                "Our GT caption": truth,
                "Style Change Caption": f"{truth}, watercolor painting",
                "Object Change Caption": plain_caption(other_class, action, background),
                "Background Change Caption": plain_caption(class_name, action, other_background),
                "Multiple Changes Caption": plain_caption(other_class, action, other_background)
                + ", watercolor painting",
            }
        )
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerow({"Video name": "DAVIS Videos:"})  # the challenge's table has a heading row for each source
    writer.writerows(rows)
    write_atomic(output / "LOVEU-TGVE-2023_Dataset.csv", table.getvalue().encode())


def write_ucf101(output: Path, videos_per_class: int = 2, seed: int = 0) -> None:
    """Write a folder in UCF-101's layout: toyworld's actions are its classes."""
    names = {action: f"Toy{action.capitalize()}" for action in ACTIONS}
    lists: dict[str, list[str]] = {"train": [], "test": []}
    number = 0
    for label, (action, name) in enumerate(names.items(), start=1):
        for clip in range(1, videos_per_class + 1):
            scene = replace(sample_scene(seed, number), action=action)
            number += 1
            for group, split in ((1, "test"), (8, "train")):
                path = f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"
                shown = scene if split == "test" else replace(sample_scene(seed + 1, number), action=action)
                frames, _ = render(shown, height=240, width=320, num_frames=32)
                write_atomic(output / "UCF-101" / path, _encode_avi(frames, 25))
                lists[split].append(f"{path} {label}" if split == "train" else path)
    splits = output / "ucfTrainTestlist"
    write_atomic(
        splits / "classInd.txt", _lines(f"{label} {name}" for label, name in enumerate(names.values(), start=1))
    )
    write_atomic(splits / "trainlist01.txt", _lines(lists["train"]))
    write_atomic(splits / "testlist01.txt", _lines(lists["test"]))


def write_msrvtt(output: Path, num_videos: int = 20, seed: int = 0) -> None:
    """Write a folder in MSR-VTT's layout: test videos from number 7010 on, 20 captions each."""
    videos: list[dict[str, object]] = []
    sentences: list[dict[str, object]] = []
    for index in range(num_videos):
        scene, name = sample_scene(seed, index), f"video{7010 + index}"
        frames, _ = render(scene, height=240, width=320, num_frames=32)
        write_atomic(output / "TestVideo" / f"{name}.mp4", encode(frames, 16))
        videos.append(
            {
                "category": 0,
                "url": "",
                "video_id": name,
                "start time": 0.0,
                "end time": 2.0,
                "split": "test",
                "id": 7010 + index,
            }
        )
        rng = np.random.default_rng([seed, index, 4])
        for _ in range(20):
            text, _ = caption(rng, scene.subject.class_name, scene.action, scene.background)
            sentences.append({"caption": text, "video_id": name, "sen_id": len(sentences)})
    info = {"contributor": "toyworld", "year": "", "version": "1", "description": "toyworld in MSR-VTT's layout"}
    write_atomic(
        output / "test_videodatainfo.json",
        json.dumps({"info": info, "videos": videos, "sentences": sentences}).encode(),
    )


def write_dreambooth(output: Path, num_subjects: int = 10, images_per_subject: int = 5, seed: int = 0) -> None:
    """Write a folder in DreamBooth's layout: one class and appearance a subject, before different backgrounds."""
    classes = []
    for index in range(num_subjects):
        scene, rng = sample_scene(seed, index), np.random.default_rng([seed, index, 5])
        class_name = list(CLASSES)[index % len(CLASSES)]
        looks = sample_appearance(rng)
        name = f"{class_name}{index:02d}"
        classes.append(f"{name},{class_name}")
        for number in range(images_per_subject):
            view = _view(scene, rng)
            subject = replace(view.subject, class_name=class_name, appearance=looks)
            frames, _ = render(replace(view, subject=subject), height=512, width=512, num_frames=1)
            _write_jpeg(output / "dataset" / name / f"{number:02d}.jpg", frames[0])
    prompts = [
        f"'a {{0}} {{1}} {phrases[0]}'.format(unique_token, class_token)" for phrases in BACKGROUND_PHRASES.values()
    ]
    listing = "prompt_list = [\n" + ",\n".join(prompts) + "\n]\n"
    text = "Classes\n\nsubject_name,class\n" + "\n".join(classes)
    text += f"\n\nPrompts\n\nObject Prompts\n\n{listing}\nLive Subject Prompts\n\n{listing}"
    write_atomic(output / "dataset" / "prompts_and_classes.txt", text.encode())


BENCHMARKS: dict[str, Callable[..., None]] = {
    "davis": write_davis,
    "ucf101": write_ucf101,
    "msrvtt": write_msrvtt,
    "dreambooth": write_dreambooth,
}


def _view(scene: Scene, rng: np.random.Generator) -> Scene:
    subject = replace(scene.subject, x=float(rng.uniform(-0.15, 0.15)), y=float(rng.uniform(-0.15, 0.15)))
    return replace(scene, subject=subject, background=str(rng.choice(list(BACKGROUNDS))), action="rise", strength=0.0)


def _other(rng: np.random.Generator, names: list[str], name: str) -> str:
    return str(rng.choice([other for other in names if other != name]))


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _write_jpeg(path: Path, image: Image) -> None:
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "JPEG", quality=95)
    write_atomic(path, buffer.getvalue())


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def _encode_avi(frames: Frames, frame_rate: int) -> bytes:
    output = io.BytesIO()
    with av.open(output, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(frame_rate))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return output.getvalue()
