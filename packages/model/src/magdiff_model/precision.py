"""Which number format the heavy parts run in, and where."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is the GPU where there is one."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: Precision, dtype: torch.dtype = torch.float32) -> torch.autocast:
    """Return the context for forward passes of networks in `dtype`.

    "auto" is bf16 where the hardware multiplies in it, fp32 elsewhere; networks that are not in fp32 stay as they are.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bool(torch.cpu.get_capabilities().get("amx_bf16"))
    enabled = dtype == torch.float32 and (precision == "bf16" or (precision == "auto" and fast))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
