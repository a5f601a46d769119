import numpy as np
import pytest
import torch

from magdiff_model.models.apa import AdaptivePromptsAttention


def softmax(scores: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def by_hand(layer: AdaptivePromptsAttention, hidden, text, image, alpha_text, alpha_image) -> np.ndarray:
    """Eq. 4 for one sample and one frame, in NumPy: hidden [N, C], text [L, D], image [M, D]."""
    weight = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    head = hidden.shape[1] // layer.num_heads
    query = hidden @ weight["to_q.weight"].T
    merged = np.zeros_like(query)
    for key, value, tokens, alpha in (
        ("to_k.weight", "to_v.weight", text, alpha_text),
        ("to_k_image.weight", "to_v_image.weight", image, alpha_image),
    ):
        keys, values = tokens @ weight[key].T, tokens @ weight[value].T
        for start in range(0, hidden.shape[1], head):
            part = slice(start, start + head)
            merged[:, part] += alpha * softmax(query[:, part] @ keys[:, part].T / np.sqrt(head)) @ values[:, part]
    return merged @ weight["to_out.0.weight"].T + weight["to_out.0.bias"]


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((2, 3, 5, 16), (2, 7, 12), (2, 3, 9, 12))
    hidden, text, image = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return hidden, text, image


@pytest.mark.parametrize(
    ("mode", "alpha", "expected"),
    [("adaptive", (0.8, 1.3), (0.8, 1.3)), ("fixed", (0.3, 0.7), (0.3, 0.7)), ("fpa", (9, 9), (1, 1))],
)
def test_every_mode_equals_its_equation_computed_by_hand(mode, alpha, expected) -> None:
    torch.manual_seed(1)
    layer = AdaptivePromptsAttention(16, 12, 8, mode, alpha).double()
    hidden, text, image = inputs()
    output = layer(hidden, text, image)
    weights = [np.float32(value) for value in expected]
    for sample in range(2):
        for frame in range(3):
            arrays = (hidden[sample, frame].numpy(), text[sample].numpy(), image[sample, frame].numpy())
            hand = by_hand(layer, *arrays, *weights)
            np.testing.assert_allclose(output[sample, frame].detach().numpy(), hand, rtol=1e-6, atol=1e-9)
    assert layer.alpha_text.requires_grad == (mode == "adaptive")


def test_image_tokens_shared_by_the_frames_equal_the_same_tokens_given_for_each() -> None:
    torch.manual_seed(1)
    layer = AdaptivePromptsAttention(16, 12, 8).double()
    hidden, text, image = inputs()
    shared = image[:, :1]
    torch.testing.assert_close(layer(hidden, text, shared), layer(hidden, text, shared.expand(-1, 3, -1, -1)))


def test_text_only_has_no_image_weights_and_ignores_images() -> None:
    layer = AdaptivePromptsAttention(16, 12, 8, "text_only").double()
    hidden, text, image = inputs()
    assert torch.equal(layer(hidden, text, image), layer(hidden, text, None))
    assert not [name for name, _ in layer.named_parameters() if "image" in name or "alpha" in name]
