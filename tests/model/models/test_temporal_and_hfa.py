import pytest
import torch

from magdiff_model.models.hfa import HighFidelityAlignment
from magdiff_model.models.temporal import TemporalAttention, sinusoidal_code


def test_the_position_code_is_the_transformers() -> None:
    code = sinusoidal_code(4, 6)
    assert code.shape == (4, 6)
    assert code[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert code[3, 2] == pytest.approx(torch.sin(torch.tensor(3 / 10_000 ** (2 / 6))).item())


@pytest.mark.parametrize("position_code", ["residual", "branch"])
def test_fresh_temporal_attention_adds_the_code_or_nothing(position_code) -> None:
    layer = TemporalAttention(16, 8, position_code)
    hidden = torch.randn(2, 5, 3, 16)
    added = layer(hidden) - hidden
    expected = sinusoidal_code(5, 16)[:, None].expand_as(hidden) if position_code == "residual" else torch.zeros(())
    torch.testing.assert_close(added, expected.expand_as(hidden), atol=1e-6, rtol=0)


def test_temporal_attention_leaves_a_single_frame_as_it_is() -> None:
    hidden = torch.randn(2, 1, 3, 16)
    assert torch.equal(TemporalAttention(16, 8, "residual")(hidden), hidden)


def test_hfa_brings_all_scales_to_the_latents_size_slot_by_slot() -> None:
    hfa = HighFidelityAlignment()
    pyramid = [torch.randn(2, 4, 3, size, size) for size in (24, 20, 16)]
    merged = hfa(pyramid, (16, 16))
    assert merged.shape == (2, 4, 3, 16, 16)
    alone = hfa([scale[1:, :, 2:] for scale in pyramid], (16, 16))
    torch.testing.assert_close(merged[1:, :, 2:], alone)


def test_hfa_refuses_another_number_of_scales() -> None:
    with pytest.raises(ValueError, match="3 scales, got latents at 2"):
        HighFidelityAlignment()([torch.zeros(1, 4, 1, 8, 8)] * 2, (8, 8))


def test_hfa_can_start_near_the_last_scales_latents_with_every_weight_alive() -> None:
    torch.manual_seed(0)
    hfa = HighFidelityAlignment(init="copy")
    pyramid = [torch.randn(1, 4, 2, size, size) for size in (24, 20, 16)]
    merged = hfa(pyramid, (16, 16))
    assert (merged - pyramid[-1]).std() < 0.4 * pyramid[-1].std()
    merged.square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in hfa.parameters())
