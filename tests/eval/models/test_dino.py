from pathlib import Path

import numpy as np
import pytest
import torch
from eval.models.tiny_hub import save_dino
from PIL import Image as PillowImage
from torchvision import transforms

from magdiff_eval.models.dino import cropped, dino_of_folder


@pytest.mark.parametrize("size", [(300, 300), (256, 391), (600, 311), (48, 61)])
def test_pictures_are_prepared_as_torchvision_does_for_dino(tmp_path: Path, size: tuple[int, int]) -> None:
    save_dino(tmp_path)
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    prepare = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    expected = prepare(PillowImage.fromarray(frame))
    torch.testing.assert_close(dino_of_folder(tmp_path).pixels(frame[None])[0], expected)


def test_the_embedding_is_the_class_token(tmp_path: Path) -> None:
    model = save_dino(tmp_path)
    pixels = torch.randn(2, 3, 224, 224)
    dino = dino_of_folder(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(dino.embed_pixels(pixels), model(pixel_values=pixels).last_hidden_state[:, 0])


def test_a_subject_is_cut_out_by_its_box_or_its_mask_and_an_empty_mask_takes_the_whole_picture() -> None:
    frames = np.full((2, 6, 8, 3), 9, np.uint8)
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1, 2], masks[0, 3, 6] = True, True
    box, mask = (cropped(frames, masks, crop) for crop in ("bbox", "mask"))
    assert [picture.shape for picture in box] == [(3, 5, 3), (6, 8, 3)]
    assert (box[0] == 9).all()
    assert mask[0].sum() == 2 * 3 * 9
    assert mask[0][0, 0].tolist() == [9, 9, 9]
    assert (mask[1] == frames[1]).all()
    assert all((picture == frame).all() for picture, frame in zip(cropped(frames, masks, "none"), frames, strict=True))
