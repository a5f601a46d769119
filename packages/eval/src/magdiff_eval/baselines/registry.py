"""The baselines by name."""

from __future__ import annotations

from difflib import get_close_matches

from magdiff_eval.baselines.animatediff import ANIMATEDIFF
from magdiff_eval.baselines.entry import Baseline, Values
from magdiff_eval.baselines.i2vgen_xl import I2VGEN_XL
from magdiff_eval.baselines.instruct_pix2pix import INSTRUCT_PIX2PIX
from magdiff_eval.baselines.modelscope import MODELSCOPE
from magdiff_eval.baselines.stable_video import STABLE_VIDEO

BASELINES: dict[str, Baseline] = {
    baseline.name: baseline for baseline in (ANIMATEDIFF, I2VGEN_XL, STABLE_VIDEO, INSTRUCT_PIX2PIX, MODELSCOPE)
}


def baseline_of(name: str) -> Baseline:
    """Return a baseline.

    Raises:
        ValueError: no such baseline.
    """
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}: give one of {', '.join(BASELINES)}")
    return BASELINES[name]


def values_of(baseline: Baseline, given: Values) -> Values:
    """Return its settings: those that are given (not None), and the published ones for the rest.

    Raises:
        ValueError: it has no such setting, or the value is of another kind or not positive where it counts something.
    """
    values = {name: setting.value for name, setting in baseline.settings.items()}
    for name, value in given.items():
        if value is None:
            continue
        if name not in values:
            near = get_close_matches(name, values, n=1)
            meant = f"; did you mean {near[0]}?" if near else f": it has {', '.join(values)}"
            raise ValueError(f"{baseline.name} has no setting {name!r}{meant}")
        kind = type(values[name])
        fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        if not fits or (kind is int and value < 1):
            wanted = {int: "a positive whole number", float: "a number", str: "a text"}[kind]
            raise ValueError(f"{name} of {baseline.name} is {value!r}; give {wanted}, such as {values[name]!r}")
        values[name] = kind(value)
    return values
