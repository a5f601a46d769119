from pathlib import Path

import numpy as np
import pytest
import torch
from eval.models.tiny_hub import save_clip
from PIL import Image as PillowImage
from torchvision import transforms
from transformers import AutoTokenizer, CLIPModel, CLIPVisionModel

from magdiff_eval.models.clip import clip_of_folder, clip_of_pipeline

ZOO = Path(__file__).parents[3] / "zoo" / "toyworld"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CLIPModel]:
    folder = tmp_path_factory.mktemp("clip")
    return folder, save_clip(folder)


def frames(seed: int = 0, num_frames: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, 40, 60, 3)).astype(np.uint8)


def test_frames_are_prepared_as_openai_does_in_pillow(saved: tuple[Path, CLIPModel]) -> None:
    prepare = transforms.Compose(
        [
            transforms.Resize(32, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    expected = torch.stack([prepare(PillowImage.fromarray(frame)) for frame in frames()])
    torch.testing.assert_close(clip_of_folder(saved[0]).pixels(frames()), expected, rtol=1e-5, atol=1e-5)


def test_both_towers_and_the_scale_are_the_whole_models(saved: tuple[Path, CLIPModel]) -> None:
    folder, model = saved
    clip = clip_of_folder(folder)
    pixels, prompts = clip.pixels(frames()), ["a dog runs", "the red cat runs in the snow"]
    tokens = AutoTokenizer.from_pretrained(folder)(prompts, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels)
        image = clip.embed_pixels(pixels)
    text = clip.embed_prompts(prompts)
    cosines = torch.nn.functional.normalize(image) @ torch.nn.functional.normalize(text).T
    torch.testing.assert_close(clip.scale * cosines, out.logits_per_image, rtol=1e-4, atol=1e-4)


def test_a_folder_with_half_the_weights_is_refused(tmp_path: Path, saved: tuple[Path, CLIPModel]) -> None:
    save_clip(tmp_path)
    CLIPVisionModel(saved[1].config.vision_config).save_pretrained(tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lacks logit_scale of CLIPModel: get the weights again"):
        clip_of_folder(tmp_path)


def test_the_zoos_clip_finds_the_prompt_of_a_picture(saved: tuple[Path, CLIPModel]) -> None:
    from magdiff_curation.toyworld.captions import plain_caption
    from magdiff_curation.toyworld.scene import render, sample_scene

    clip = clip_of_pipeline(ZOO)
    right = 0
    for index in range(20):
        scene = sample_scene(3, index)
        video, _ = render(scene, height=64, width=64, num_frames=2)
        prompts = [
            plain_caption(scene.subject.class_name, scene.action, background)
            for background in ("snow" if scene.background != "snow" else "night", scene.background)
        ]
        with torch.no_grad():
            image = torch.nn.functional.normalize(clip.embed_pixels(clip.pixels(video)))
        text = torch.nn.functional.normalize(clip.embed_prompts(prompts))
        cosines = (image @ text.T).mean(dim=0)
        right += bool(cosines[1] > cosines[0])
    assert right >= 18
