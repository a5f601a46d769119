"""Weights that metrics need: what each is, whether it is here, and how it becomes a network.

`python -m magdiff_eval.weights` prints what is here and how to get the rest. Nothing is ever downloaded.
"""

from magdiff_eval.weights.load import ZOO, hub_folder, load_c3d, load_i3d, load_toyworld
from magdiff_eval.weights.stamps import Stamp, stamp_of

__all__ = ["ZOO", "Stamp", "hub_folder", "load_c3d", "load_i3d", "load_toyworld", "stamp_of"]
