"""Other methods through diffusers, by name, as makers that the harness runs like MagDiff; see `load_baseline`."""

from magdiff_eval.baselines.check import problems
from magdiff_eval.baselines.entry import Baseline, Part, Setting
from magdiff_eval.baselines.load import load_baseline
from magdiff_eval.baselines.registry import BASELINES, baseline_of
from magdiff_eval.baselines.request import Maker, Request

__all__ = ["BASELINES", "Baseline", "Maker", "Part", "Request", "Setting", "baseline_of", "load_baseline", "problems"]
