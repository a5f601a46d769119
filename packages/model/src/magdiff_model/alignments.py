"""From a text-to-video base to MagDiff: add the alignments, and choose what trains.

The new parts start as the paper has them, at random, save for `conv_in_cond`, which starts at zero, and the two alphas,
which start at 1 (fixed prompts alignment at step 0). Everything else is the base's own weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from magdiff_model.models.unet import MagDiffUNet3DConditionModel

TrainableSet = Literal["transformers", "attention", "all"]
NEW_MODULES = (
    "to_q_image",
    "to_k_image",
    "to_v_image",
    "alpha_text",
    "alpha_image",
    "image_tokens",
    "hfa",
    "conv_in_cond",
)
TEMPORAL_MODULES = ("temp_convs", "temporal", "temp_attentions", "transformer_in")


def add_alignments(base: MagDiffUNet3DConditionModel, **settings: Any) -> MagDiffUNet3DConditionModel:
    """Return a UNet with the base's weights and the settings' alignments (`apa_mode`, `hfa_scales`, …).

    Raises:
        ValueError: the base has weights that the new UNet has no place for, or lacks some that are not new.
    """
    # not from_config({**config, …}): that drops what the config lists as left at its default
    unet = MagDiffUNet3DConditionModel.from_config(base.config, **settings)
    state = base.state_dict()
    if unet.config.apa_mode != "adaptive":  # alphas that a mode holds are the settings', not the base's
        state = {name: value for name, value in state.items() if "alpha_" not in name}
    missing, unexpected = unet.load_state_dict(state, strict=False)
    not_new = [name for name in missing if not set(name.split(".")) & set(NEW_MODULES)]
    if not_new or unexpected:
        raise ValueError(f"the base does not fit: it lacks {not_new[:5]}, and has beyond it {unexpected[:5]}")
    return unet


@dataclass(frozen=True)
class Trainable:
    """The parameters that train, by how they are treated."""

    base: list[nn.Parameter] = field(default_factory=list)
    """The text-to-video base's own."""
    new: list[nn.Parameter] = field(default_factory=list)
    """What MagDiff adds, but for the alphas."""
    alphas: list[nn.Parameter] = field(default_factory=list)

    def everything(self) -> list[nn.Parameter]:
        """Return all of them."""
        return [*self.base, *self.new, *self.alphas]


def choose_trainable(unet: nn.Module, trainable: TrainableSet) -> Trainable:
    """Freeze the rest, and return what trains.

    "transformers" is Supplement B: temporal layers, whole spatial transformers, new projections. "attention" is
    Supplement D: temporal layers, self-attention, APA, new projections. Resnets are frozen in both. "all" is not the
    paper's: a small model in a short run needs its resnets.
    """
    spatial = ("attentions",) if trainable == "transformers" else ("attn1", "attn2")
    wanted = {*NEW_MODULES, *TEMPORAL_MODULES, *spatial}
    groups = Trainable()
    for name, parameter in unet.named_parameters():
        parts = name.split(".")
        is_alpha = parts[-1] in ("alpha_text", "alpha_image")
        # A fixed alpha is a parameter that never trains: its module says so, and stays so.
        chosen = (trainable == "all" or bool(wanted & set(parts))) and (parameter.requires_grad or not is_alpha)
        parameter.requires_grad_(chosen)
        if chosen:
            is_new = bool(set(parts) & set(NEW_MODULES))
            (groups.alphas if is_alpha else groups.new if is_new else groups.base).append(parameter)
    return groups


def alphas_by_layer(unet: nn.Module) -> dict[str, tuple[float, float]]:
    """Return (alpha_text, alpha_image) of every APA layer by its name; empty for a text-only UNet.

    Where parameters are sharded, all ranks have to ask.
    """
    return {
        name: (_number(module.alpha_text), _number(module.alpha_image))
        for name, module in unet.named_modules()
        if hasattr(module, "alpha_text")
    }


def _number(alpha: Any) -> float:
    return float((alpha.full_tensor() if hasattr(alpha, "full_tensor") else alpha).item())
