import pytest
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from torch import nn

from magdiff_model.alignments import TEMPORAL_MODULES, add_alignments, choose_trainable
from magdiff_model.models.apa import Prompt
from magdiff_model.models.unet import Condition, MagDiffUNet3DConditionModel

SMALL = {
    "block_out_channels": (32, 64),
    "attention_levels": (True, False),
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "attention_head_dim": 16,
    "image_hidden_size": 20,
}


def fill(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.08


def noisy() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return (
        torch.randn(2, 4, 5, 10, 10, generator=generator),
        torch.tensor([10, 500]),
        torch.randn(2, 7, 24, generator=generator),
    )


def of_text(text: torch.Tensor) -> Condition:
    return Condition(Prompt(text[:, None]))


@torch.no_grad()
def test_modelscope_layout_with_the_same_weights_equals_diffusers_unet3d() -> None:
    theirs = UNet3DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        norm_num_groups=8,
        cross_attention_dim=24,
        attention_head_dim=16,
    ).eval()
    fill(theirs)
    ours = MagDiffUNet3DConditionModel(**SMALL, temporal_layout="modelscope", apa_mode="text_only", hfa_scales=0).eval()
    ours.load_state_dict(theirs.state_dict())
    sample, timestep, text = noisy()
    expected = theirs(sample, timestep, text).sample
    assert expected.abs().mean() > 0.01
    torch.testing.assert_close(ours(sample, timestep, of_text(text)), expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["vidrd", "modelscope"])
def test_a_2d_checkpoint_inflated_with_the_branch_position_code_equals_the_2d_unet_frame_by_frame(layout) -> None:
    flat = UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=8,
        cross_attention_dim=24,
        attention_head_dim=(2, 4),  # diffusers' name for the number of heads
        use_linear_projection=True,
    ).eval()
    fill(flat)
    video = MagDiffUNet3DConditionModel(
        **SMALL, temporal_layout=layout, position_code="branch", apa_mode="text_only", hfa_scales=0
    ).eval()
    missing, unexpected = video.load_state_dict(flat.state_dict(), strict=False)
    assert not unexpected
    assert all(set(name.split(".")) & set(TEMPORAL_MODULES) for name in missing)
    sample, timestep, text = noisy()
    output = video(sample, timestep, of_text(text))
    for frame in range(sample.shape[2]):
        expected = flat(sample[:, :, frame], timestep, text).sample
        torch.testing.assert_close(output[:, :, frame], expected, rtol=0, atol=1e-5)


def conditioned(unet: MagDiffUNet3DConditionModel, frames: int = 5) -> Condition:
    generator = torch.Generator().manual_seed(5)
    states = torch.randn(2, 1, 6, 20, generator=generator)
    pyramid = [torch.randn(2, 4, frames, size, size, generator=generator) for size in (15, 12, 10)]
    text, *rest = (value.to(unet.dtype) for value in (noisy()[2], states, *pyramid))
    return unet.condition(text, rest[0], rest[1:], (10, 10))


@torch.no_grad()
def test_a_fresh_conv_in_cond_adds_nothing() -> None:
    unet = MagDiffUNet3DConditionModel(**SMALL).eval()
    sample, timestep, _ = noisy()
    condition = conditioned(unet)
    without = Condition(condition.text, condition.image, None)
    assert torch.equal(unet(sample, timestep, condition), unet(sample, timestep, without))


@torch.no_grad()
def test_keys_and_values_projected_once_change_nothing() -> None:
    torch.manual_seed(5)
    unet = MagDiffUNet3DConditionModel(**SMALL).double().eval()
    sample, timestep, _ = (value.double() for value in noisy())
    condition = conditioned(unet)
    cached = unet.with_keys_values(condition)
    assert set(cached.text.keys_values) == set(cached.image.keys_values) == set(unet.cross_attentions)
    torch.testing.assert_close(unet(sample, timestep, cached), unet(sample, timestep, condition), rtol=0, atol=1e-12)


def test_a_checkpointed_step_gives_the_same_loss_and_gradients() -> None:
    torch.manual_seed(5)
    unet = MagDiffUNet3DConditionModel(**SMALL)
    fill(unet)
    choose_trainable(unet, "attention")
    sample, timestep, _ = noisy()
    results = []
    for checkpointed in (False, True):
        if checkpointed:
            unet.enable_gradient_checkpointing()
        unet.zero_grad()
        torch.manual_seed(7)  # of the temporal convolutions' dropout
        loss = unet(sample, timestep, conditioned(unet)).square().mean()
        loss.backward()
        results.append({name: value.grad.clone() for name, value in unet.named_parameters() if value.grad is not None})
        results[-1]["loss"] = loss.detach()
    assert len(results[0]) > 50
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_checkpointed_step_keeps_less() -> None:
    def kept(unet: MagDiffUNet3DConditionModel) -> int:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            unet(sample, timestep, condition)
        return sum(sizes)

    unet = MagDiffUNet3DConditionModel(**SMALL)
    sample, timestep, _ = noisy()
    condition = conditioned(unet)
    before = kept(unet)
    unet.enable_gradient_checkpointing()
    assert kept(unet) < before / 2


@torch.no_grad()
@pytest.mark.parametrize("layout", ["vidrd", "modelscope"])
def test_a_step_compiles_without_graph_breaks(layout) -> None:
    unet = MagDiffUNet3DConditionModel(**SMALL, temporal_layout=layout).eval()
    sample, timestep, _ = noisy()
    condition = unet.with_keys_values(conditioned(unet))
    compiled = torch.compile(unet, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(sample, timestep, condition), unet(sample, timestep, condition))


@torch.no_grad()
@pytest.mark.parametrize(("kind", "count"), [("patches", 6), ("pooled", 1), ("resampler", 5)])
def test_image_tokens_of_every_kind(kind, count) -> None:
    unet = MagDiffUNet3DConditionModel(**SMALL, image_prompt=kind, num_image_queries=5).eval()
    assert conditioned(unet).image.tokens.shape == (2, 1, count, 24)
    sample, timestep, _ = noisy()
    assert unet(sample, timestep, conditioned(unet)).shape == sample.shape


@pytest.mark.parametrize(
    "settings",
    [{}, {"image_prompt": "resampler"}, {"image_prompt": "pooled", "apa_own_query": True}, {"hfa_init": "copy"}],
)
def test_after_two_steps_every_new_parameter_has_moved_and_no_frozen_one(settings) -> None:
    torch.manual_seed(6)
    base = MagDiffUNet3DConditionModel(**SMALL, apa_mode="text_only", hfa_scales=0)
    fill(base)
    unet = add_alignments(base, apa_mode="adaptive", hfa_scales=3, **settings)
    assert {name: unet.config[name] for name in settings} == settings
    trainable = choose_trainable(unet, "attention")
    before = {name: value.detach().clone() for name, value in unet.named_parameters()}
    optimizer = torch.optim.AdamW(trainable.everything(), lr=1e-3, weight_decay=0)
    sample, timestep, _ = noisy()
    for _ in range(2):
        optimizer.zero_grad()
        (unet(sample, timestep, conditioned(unet)) - 1).square().mean().backward()
        optimizer.step()
    moved = {name for name, value in unet.named_parameters() if not torch.equal(value, before[name])}
    new = [name for name in before if name.split(".")[0] in ("hfa", "conv_in_cond", "image_tokens")]
    new += [name for name in before if "_image" in name.rsplit("attn2.", 1)[-1] or "alpha" in name]
    assert len(trainable.alphas) == 2 * 6
    assert set(new) <= moved
    frozen = (".resnets.", "transformer_blocks.0.ff.", "conv_in.weight", "conv_in.bias")
    assert not [name for name in moved if any(part in name for part in frozen)]


def test_both_readings_of_the_trainable_set_leave_the_resnets_frozen_and_differ_by_the_feed_forward() -> None:
    unet = MagDiffUNet3DConditionModel(**SMALL)
    chosen = {}
    for reading in ("transformers", "attention"):
        unet.requires_grad_(True)
        choose_trainable(unet, reading)
        chosen[reading] = {name for name, value in unet.named_parameters() if value.requires_grad}
        assert not [name for name in chosen[reading] if ".resnets." in name or "samplers" in name]
    extra = chosen["transformers"] - chosen["attention"]
    assert chosen["attention"] < chosen["transformers"]
    inner = {name.split("transformer_blocks.0.")[-1].split(".")[0] for name in extra if "transformer_blocks" in name}
    assert inner == {"norm1", "norm2", "norm3", "ff"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attention_levels": (True,)}, "2 levels need as many"),
        ({"attention_head_dim": 24}, "multiples of attention_head_dim 24"),
        ({"apa_mode": "both"}, "must be one of adaptive, fixed, fpa, text_only"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        MagDiffUNet3DConditionModel(**SMALL | settings)


def test_a_missing_condition_is_named() -> None:
    unet = MagDiffUNet3DConditionModel(**SMALL)
    text = noisy()[2]
    with pytest.raises(ValueError, match="needs the subject's image states"):
        unet.condition(text, None, None, (10, 10))
    with pytest.raises(ValueError, match="needs the subject at 3 scales"):
        unet.condition(text, torch.zeros(2, 1, 6, 20), None, (10, 10))


def test_the_full_size_has_stable_diffusion_2s_shape() -> None:
    with torch.device("meta"):
        flat = UNet2DConditionModel(
            cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
        video = MagDiffUNet3DConditionModel()
    shapes = {name: value.shape for name, value in video.state_dict().items()}
    assert len(flat.state_dict()) == 686
    assert all(shapes[name] == value.shape for name, value in flat.state_dict().items())


def test_a_condition_for_another_number_of_videos_is_refused() -> None:
    unet = MagDiffUNet3DConditionModel(**SMALL, apa_mode="text_only", hfa_scales=0).eval()
    sample, _, text = noisy()
    with pytest.raises(ValueError, match="the condition is for 1 videos, the latents are of 2"):
        unet(sample, torch.tensor(10), of_text(text[:1]))
