"""A scene: everything that one toyworld clip shows, and its pictures and exact masks at any size.

A scene is a pure function of (seed, index), and its pictures are a pure function of the scene: the same on
every machine up to the last bit of floating point. 16 frames take about 40 ms at 64 px and 1.5 s at 512 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.toyworld.actions import ACTIONS, Pose
from magdiff_curation.toyworld.appearance import Appearance, pattern_distance, sample_appearance
from magdiff_curation.toyworld.backgrounds import BACKGROUNDS, Picture
from magdiff_curation.toyworld.captions import caption
from magdiff_curation.toyworld.shapes import CLASSES, Field

_DARK = np.asarray([0.08, 0.07, 0.09], np.float32)
_PICTURES = BACKGROUNDS | {"void": lambda x, y, shift: np.zeros((*x.shape, 3), np.float32)}  # noqa: ARG005


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """What makes a scene harder than the plain one."""

    num_distractors: int = 0
    """Small still subjects of other classes near the corners."""
    camera_drift: float = 0.0
    """How far the camera moves over the clip, in half short sides."""
    contrast: float = 1.0
    """Subject colours are pulled towards the background's mean as this goes from 1 to 0."""
    noise: float = 0.0
    """Standard deviation of Gaussian pixel noise, 0 to 1 (full scale)."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A subject in the world: class, looks, place and size in half short sides."""

    class_name: str
    appearance: Appearance
    x: float
    y: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One clip's content."""

    seed: int
    index: int
    subject: Placed
    action: str
    strength: float
    background: str
    shift: float
    drift: tuple[float, float]
    distractors: tuple[Placed, ...]
    difficulty: Difficulty
    caption: str
    noun: str


def sample_scene(seed: int, index: int, difficulty: Difficulty = Difficulty()) -> Scene:
    """Return the scene number `index` of the world `seed`."""
    rng = np.random.default_rng([seed, index])
    class_name, action, background = (str(rng.choice(list(table))) for table in (CLASSES, ACTIONS, BACKGROUNDS))
    text, noun = caption(rng, class_name, action, background)
    subject = Placed(
        class_name=class_name,
        appearance=sample_appearance(rng),
        x=float(rng.uniform(-0.1, 0.1)),
        y=float(rng.uniform(-0.1, 0.1)),
        scale=float(rng.uniform(0.64, 0.74)),
    )
    strength, shift = float(rng.uniform(0.85, 1.15)), float(rng.uniform(-0.15, 0.15))
    direction = rng.uniform(0, 2 * np.pi)
    drift = (difficulty.camera_drift * float(np.cos(direction)), difficulty.camera_drift * float(np.sin(direction)))
    corners = rng.permutation([(-0.75, -0.75), (0.75, -0.75), (-0.75, 0.75), (0.75, 0.75)])
    others = [name for name in CLASSES if name != class_name]
    distractors = tuple(
        Placed(class_name=str(rng.choice(others)), appearance=sample_appearance(rng), x=float(x), y=float(y), scale=0.2)
        for x, y in corners[: difficulty.num_distractors]
    )
    return Scene(
        seed=seed,
        index=index,
        subject=subject,
        action=action,
        strength=strength,
        background=background,
        shift=shift,
        drift=drift,
        distractors=distractors,
        difficulty=difficulty,
        caption=text,
        noun=noun,
    )


def with_background(scene: Scene, background: str) -> Scene:
    """Return the same scene before another background (its caption is left as it was)."""
    return replace(scene, background=background)


def render(scene: Scene, *, height: int, width: int, num_frames: int) -> tuple[Frames, Masks]:
    """Return the clip's frames, uint8 [F, H, W, 3], and its subject's exact masks, bool [F, H, W].

    Raises:
        ValueError: a side under 16 px or no frame.
    """
    times = [frame / max(num_frames - 1, 1) for frame in range(num_frames)]
    return render_at(scene, times, height=height, width=width)


def render_at(scene: Scene, times: Sequence[float], *, height: int, width: int) -> tuple[Frames, Masks]:
    """Return the pictures at the given moments, 0 (the clip's first frame) to 1 (its last), as `render` does.

    Raises:
        ValueError: a side under 16 px or no moment.
    """
    if min(height, width) < 16 or not times:
        raise ValueError(f"cannot draw {len(times)} frames of {width}x{height} px: at least 1 frame of 16x16 px")
    pixel = 2 / min(height, width)
    y = ((np.arange(height, dtype=np.float32) + 0.5) * pixel - height * pixel / 2)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) * pixel - width * pixel / 2)[None, :]
    x, y = np.broadcast_to(x, (height, width)), np.broadcast_to(y, (height, width))
    noise = np.random.default_rng([scene.seed, scene.index, 1])
    frames = np.empty((len(times), height, width, 3), np.uint8)
    masks = np.empty((len(times), height, width), np.bool_)
    world: Picture | None = None
    for frame, time in enumerate(times):
        camera = (scene.drift[0] * (time - 0.5), scene.drift[1] * (time - 0.5))
        if world is None or any(scene.drift):
            world = _PICTURES[scene.background](x + camera[0], y + camera[1], scene.shift).astype(np.float32)
            for distractor in scene.distractors:
                world, _ = _paint(world, distractor, Pose(), camera, x, y, pixel, contrast=1)
        pose = ACTIONS[scene.action](time, scene.strength)
        picture, masks[frame] = _paint(world, scene.subject, pose, camera, x, y, pixel, scene.difficulty.contrast)
        if scene.difficulty.noise:
            picture = picture + scene.difficulty.noise * noise.standard_normal(picture.shape, dtype=np.float32)
        frames[frame] = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    return frames, masks


def render_parts(scene: Scene, *, height: int, width: int, num_frames: int) -> NDArray[np.uint8]:
    """Return where the subject shows its base, second and accent colour, uint8 [F, H, W, 3], 0 to 255 (covered)."""
    false_colours = replace(scene.subject.appearance, base=(1, 0, 0), second=(0, 1, 0), accent=(0, 0, 1))
    plain = replace(scene, subject=replace(scene.subject, appearance=false_colours), background="void")
    parts, _ = render(
        replace(plain, distractors=(), difficulty=Difficulty()), height=height, width=width, num_frames=num_frames
    )
    return parts


def _paint(
    world: Picture,
    placed: Placed,
    pose: Pose,
    camera: tuple[float, float],
    x: Field,
    y: Field,
    pixel: float,
    contrast: float,
) -> tuple[Picture, np.ndarray]:
    """Return the picture with a subject painted over it, and the subject's mask."""
    scale = placed.scale * pose.scale
    centre_x, centre_y = placed.x + pose.dx - camera[0], placed.y + pose.dy - camera[1]
    reach = 1.6 * scale  # only this neighbourhood can be touched
    rows = np.flatnonzero(np.abs(y[:, 0] - centre_y) < reach)
    columns = np.flatnonzero(np.abs(x[0] - centre_x) < reach)
    picture, mask = world.copy(), np.zeros(x.shape, np.bool_)
    if not rows.size or not columns.size:
        return picture, mask
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    dx, dy = (x[window] - centre_x) / scale, (y[window] - centre_y) / scale
    cosine, sine = np.cos(pose.angle), np.sin(pose.angle)
    looks = placed.appearance
    local_x, local_y = (dx * cosine + dy * sine) / looks.aspect, -dx * sine + dy * cosine
    sharpness = scale / pixel
    second = np.clip(0.5 + pattern_distance(looks, local_x, local_y) * sharpness, 0, 1)[..., None]
    body = np.asarray(looks.base, np.float32) * (1 - second) + np.asarray(looks.second, np.float32) * second
    paint = {"body": body, "accent": np.asarray(looks.accent, np.float32), "dark": _DARK}
    mean = world[window].mean(axis=(0, 1))
    covered = np.zeros(dx.shape, np.float32)
    target = picture[window]
    for part in CLASSES[placed.class_name](local_x, local_y, looks.part):
        cover = np.clip(0.5 - part.distance * sharpness, 0, 1)
        covered = np.maximum(covered, cover)
        colour = mean + contrast * (paint[part.role] - mean)
        target += cover[..., None] * (colour - target)
    mask[window] = covered >= 0.5
    return picture, mask
