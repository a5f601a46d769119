"""Runs of the zoo's model at their smallest: one step, no guidance, toyworld's networks."""

from pathlib import Path
from typing import Any

from tests_support import ZOO

from magdiff_eval.harness.settings import COMMANDS, RunSettings

NUM_ITEMS = {"davis": 4, "ucf101": 4, "msrvtt": 3, "dreambooth": 10}


def small(benchmark: str, data: Path, output: Path, **more: Any) -> RunSettings:
    given: dict[str, Any] = {"output": output, "features": output.parent / "features", "extractors": "toyworld"}
    given |= {"vision": "toyworld", "precision": "fp32"}
    given |= {} if "videos" in more else {"steps": 1, "guidance_scale": 1.0}
    given |= {"data": data / benchmark} if benchmark != "toyworld" else {"num_clips": 2}
    given |= {"num_videos": 4} if benchmark == "ucf101" else {}
    given |= {} if more.keys() & {"videos", "baseline"} else {"model": ZOO}
    settings: RunSettings = COMMANDS[benchmark](**given | more)
    return settings
