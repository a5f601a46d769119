import numpy as np
import pytest
from pycocotools import mask as coco

from magdiff_curation.clips.masks import (
    area_ratio,
    bounding_box,
    decode_rle,
    encode_rle,
    intersection_over_union,
    subject_image,
)


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 90, 2)
    return rng.uniform(size=(height, width)) < rng.choice([0.02, 0.5, 0.98])


@pytest.mark.parametrize("seed", range(20))
def test_rle_is_what_pycocotools_writes(seed: int) -> None:
    mask = random_mask(seed)
    reference = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle = encode_rle(mask)
    assert rle["size"] == list(reference["size"])
    assert rle["counts"] == reference["counts"].decode()
    assert np.array_equal(decode_rle(rle), mask)


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks_survive(value: bool) -> None:
    mask = np.full((480, 853), value)
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


@pytest.mark.parametrize(
    ("rle", "word"),
    [
        ({"size": [4, 4], "counts": "`"}, "middle"),
        ({"size": [4, 4], "counts": "4"}, "add up"),
        ({"size": [4, 0], "counts": "4"}, "size"),
        ({"size": [4, 4], "counts": [16]}, "compressed"),
        ({"size": [4, 4], "counts": "\x7f"}, "damaged"),
    ],
)
def test_damaged_rle_is_refused(rle: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        decode_rle(rle)


def test_measures_of_a_known_mask() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:5, 4:10] = True
    assert area_ratio(mask) == 18 / 200
    assert bounding_box(mask) == (4, 2, 10, 5)
    assert bounding_box(np.zeros((3, 3), bool)) is None
    other = np.zeros_like(mask)
    other[2:5, 7:13] = True
    assert intersection_over_union(mask, other) == 9 / 27


def test_subject_image_is_grey_outside_the_mask() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    mask = np.eye(4, dtype=bool)
    subject = subject_image(image, mask)
    assert np.array_equal(subject[mask], image[mask])
    assert (subject[~mask] == 128).all()
