"""From a text-to-video base to MagDiff: add the alignments, and choose what trains.

The new parts start as the paper has them, at random, save for `conv_in_cond`, which starts at zero, and the two alphas,
which start at 1 (fixed prompts alignment at step 0). Everything else is the base's own weights.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from magdiff_model.models.unet import MagDiffUNet3DConditionModel

TrainableSet = Literal["transformers", "attention"]
NEW_MODULES = ("to_k_image", "to_v_image", "alpha_text", "alpha_image", "image_tokens", "hfa", "conv_in_cond")
TEMPORAL_MODULES = ("temp_convs", "temporal", "temp_attentions", "transformer_in")


def add_alignments(base: MagDiffUNet3DConditionModel, **settings: Any) -> MagDiffUNet3DConditionModel:
    """Return a UNet with the base's weights and the settings' alignments (`apa_mode`, `hfa_scales`, …).

    Raises:
        ValueError: the base has weights that the new UNet has no place for, or lacks some that are not new.
    """
    unet = MagDiffUNet3DConditionModel.from_config({**base.config, **settings})
    missing, unexpected = unet.load_state_dict(base.state_dict(), strict=False)
    not_new = [name for name in missing if not set(name.split(".")) & set(NEW_MODULES)]
    if not_new or unexpected:
        raise ValueError(f"the base does not fit: it lacks {not_new[:5]}, and has beyond it {unexpected[:5]}")
    return unet


def choose_trainable(unet: nn.Module, trainable: TrainableSet) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Freeze the rest, and return (parameters that train, the alphas among them apart).

    "transformers" is Supplement B: temporal layers, whole spatial transformers, new projections. "attention" is
    Supplement D: temporal layers, self-attention, APA, new projections. Resnets are frozen in both.
    """
    spatial = ("attentions",) if trainable == "transformers" else ("attn1", "attn2")
    wanted = {*NEW_MODULES, *TEMPORAL_MODULES, *spatial}
    weights: list[nn.Parameter] = []
    alphas: list[nn.Parameter] = []
    for name, parameter in unet.named_parameters():
        parts = name.split(".")
        is_alpha = parts[-1] in ("alpha_text", "alpha_image")
        # A fixed alpha is a parameter that never trains: its module says so, and stays so.
        chosen = bool(wanted & set(parts)) and (parameter.requires_grad or not is_alpha)
        parameter.requires_grad_(chosen)
        if chosen:
            (alphas if is_alpha else weights).append(parameter)
    return weights, alphas


def alphas_by_layer(unet: nn.Module) -> dict[str, tuple[float, float]]:
    """Return (alpha_text, alpha_image) of every APA layer by its name; empty for a text-only UNet."""
    return {
        name: (module.alpha_text.item(), module.alpha_image.item())
        for name, module in unet.named_modules()
        if hasattr(module, "alpha_text")
    }
