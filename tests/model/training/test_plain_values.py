import math
from pathlib import Path
from typing import Any

import pytest
import torch
from model.training.saved import newest, tensors

from magdiff_model.training.checkpoints import save_checkpoint


def test_floats_and_losses_of_skipped_steps_come_back_exactly(tmp_path: Path) -> None:
    values = {
        "losses": [0.1 + 0.2, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300],
        "schedule": {"last_lr": [1e-4 / 3], "betas": (0.9, 0.999)},
        "position": {"epoch": 2**53 + 1, "clip": None, "done": False, "name": "nan"},
    }
    save_checkpoint(tmp_path, 1, tensors(1), values, keep=1)

    found = newest(tmp_path).values
    assert [repr(loss) for loss in found["losses"]] == [repr(loss) for loss in values["losses"]]
    assert found["schedule"] == {"last_lr": [1e-4 / 3], "betas": [0.9, 0.999]}
    assert found["position"] == values["position"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"schedule": {"last_lr": [0.1, math.nan]}}, r"schedule\.last_lr\[1\] is nan"),
        ({"scaler": math.inf}, "scaler is inf"),
        ({"order": {3: "clip"}}, "order has the key 3"),
        ({"step": torch.tensor(3)}, "step is a Tensor"),
        ({"losses": [0.5, "nan"]}, "losses holds a string"),
    ],
)
def test_a_value_that_json_would_change_is_refused_by_name(
    tmp_path: Path, values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        save_checkpoint(tmp_path / "checkpoints", 1, tensors(1), values, keep=1)
    assert not (tmp_path / "checkpoints").exists()
