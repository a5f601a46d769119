"""What several folders of tests share."""

from pathlib import Path

ZOO = Path(__file__).parents[1] / "zoo" / "toyworld"
VISION_ZOO = ZOO.with_name("toyworld_vision")
