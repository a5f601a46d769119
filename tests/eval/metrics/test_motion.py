import numpy as np
import pytest

from magdiff_eval.metrics.motion import SIDE_PX, motion_between


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = sum(
        np.sin(rows * a + columns * b + c)[..., None] * rng.uniform(0.3, 1, 3)
        for a, b, c in rng.uniform((-0.25, -0.25, 0), (0.25, 0.25, 6), (12, 3))
    )
    return (127.5 + 127 * waves / np.abs(waves).max()).astype(np.uint8)


def test_a_still_picture_does_not_move() -> None:
    picture = texture(64, 96)
    assert motion_between(picture, picture) == 0


@pytest.mark.parametrize(("rows", "columns"), [(0, 4), (3, 0), (3, 4)])
def test_a_picture_moved_by_some_pixels_moves_by_that_share_of_its_short_side(rows: int, columns: int) -> None:
    whole = texture(140, 180)
    first, second = whole[8:136, 8:168], whole[8 + rows : 136 + rows, 8 + columns : 168 + columns]
    assert motion_between(first, second) == pytest.approx(np.hypot(rows, columns) / SIDE_PX, rel=0.1)


def test_motion_does_not_depend_on_the_pictures_size() -> None:
    whole = texture(280, 280)
    small = whole[: 256 + 8 : 2, : 256 + 8 : 2]
    found = motion_between(small[:128, :128], small[2:130, 2:130])
    assert motion_between(whole[:256, :256], whole[4:260, 4:260]) == pytest.approx(found, rel=0.1)
