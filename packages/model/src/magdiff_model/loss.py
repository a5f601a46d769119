"""The training objective: Eq. 2, for whichever target the scheduler is built on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from magdiff_model.models.unet import Condition, MagDiffUNet3DConditionModel


def diffusion_loss(
    unet: MagDiffUNet3DConditionModel,
    scheduler: Any,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    condition: Condition,
) -> Tensor:
    """Return the mean squared error of the prediction for latents and noise [B, 4, F, h, w] at timesteps [B].

    Raises:
        ValueError: a prediction type that is not trained here.
    """
    noisy = scheduler.add_noise(latents, noise, timesteps)
    prediction = unet(noisy, timesteps, condition)
    match scheduler.config.prediction_type:
        case "epsilon":
            target = noise
        case "v_prediction":
            target = scheduler.get_velocity(latents, noise, timesteps)
        case other:
            raise ValueError(f"the scheduler's prediction_type is {other!r}; train with epsilon or v_prediction")
    precise = torch.promote_types(prediction.dtype, torch.float32)
    return functional.mse_loss(prediction.to(precise), target.to(precise))
