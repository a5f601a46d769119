"""Whether a baseline's files are here. Everything that is missing is told at once, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from magdiff_eval.baselines.entry import Baseline, Part

PICKLES = (".bin", ".ckpt", ".pt", ".pth")


def problems(baseline: Baseline, folder: Path) -> list[str]:
    """Return what is missing or wrong in the weights folder, a line each, each part's followed by its remedy."""
    return [line for part in baseline.parts for line in _problems(part, folder)]


def check(baseline: Baseline, folder: Path) -> None:
    """Do nothing where all files are here.

    Raises:
        ValueError: files are missing, there are pickles in their place, or a folder holds another pipeline; the
            message has all of it and the commands that get them.
    """
    told = problems(baseline, folder)
    if told:
        raise ValueError("\n  ".join([f"{baseline.name} cannot be loaded from {folder}:", *told]))


def weights_files(baseline: Baseline) -> Iterator[str]:
    """Yield a baseline's weights files, relative to the weights folder."""
    for part in baseline.parts:
        yield from (f"{part.name}/{file}" for file in part.files if file.endswith(".safetensors"))


def _problems(part: Part, folder: Path) -> Iterator[str]:
    place = folder / part.name
    missing = [file for file in part.files if not (place / file).is_file()]
    for file in missing:
        pickle = _pickle_of(place / file)
        yield f"{place / file}: " + (f"missing; {pickle} is a pickle, and is not read" if pickle else "missing")
    if missing:
        yield f"get them: {part.command(folder, missing)}"
    if part.pipeline_class and (place / "model_index.json").is_file():
        held = _class_of(place / "model_index.json")
        if held != part.pipeline_class:
            yield f"{place} is a {held}, not a {part.pipeline_class}: move it away and get {part.repository}"
            yield f"get it: {part.command(folder)}"


def _pickle_of(weights: Path) -> str | None:
    """Return the name of a pickle that is where these safetensors should be."""
    if weights.suffix != ".safetensors":
        return None
    # transformers calls the pickle of model.safetensors pytorch_model.bin.
    stems = {weights.stem, "pytorch_model"} if weights.stem == "model" else {weights.stem}
    names = (f"{stem}{suffix}" for stem in sorted(stems) for suffix in PICKLES)
    return next((name for name in names if (weights.parent / name).is_file()), None)


def _class_of(path: Path) -> str:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return "damaged model_index.json"
    return str(content.get("_class_name")) if isinstance(content, dict) else "damaged model_index.json"
