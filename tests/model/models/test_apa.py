import numpy as np
import pytest
import torch

from magdiff_model.models.apa import AdaptivePromptsAttention, Prompt


def softmax(scores: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def by_hand(layer: AdaptivePromptsAttention, hidden, text, image, alpha_text, alpha_image) -> np.ndarray:
    """Eq. 4 for one sample and one frame, in NumPy: hidden [N, C], text [L, D], image [M, D]."""
    weight = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    head = hidden.shape[1] // layer.num_heads
    merged = np.zeros_like(hidden)
    own = weight.get("to_q_image.weight", weight["to_q.weight"])
    for asks, key, value, tokens, alpha in (
        (weight["to_q.weight"], "to_k.weight", "to_v.weight", text, alpha_text),
        (own, "to_k_image.weight", "to_v_image.weight", image, alpha_image),
    ):
        query = hidden @ asks.T
        keys, values = tokens @ weight[key].T, tokens @ weight[value].T
        for start in range(0, hidden.shape[1], head):
            part = slice(start, start + head)
            merged[:, part] += alpha * softmax(query[:, part] @ keys[:, part].T / np.sqrt(head)) @ values[:, part]
    return merged @ weight["to_out.0.weight"].T + weight["to_out.0.bias"]


def inputs() -> tuple[torch.Tensor, Prompt, Prompt]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((2, 3, 5, 16), (2, 1, 7, 12), (2, 3, 9, 12))
    hidden, text, image = (torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes)
    return hidden, Prompt(text), Prompt(image)


@pytest.mark.parametrize("own_query", [False, True])
@pytest.mark.parametrize(
    ("mode", "alpha", "expected"),
    [("adaptive", (0.8, 1.3), (0.8, 1.3)), ("fixed", (0.3, 0.7), (0.3, 0.7)), ("fpa", (9, 9), (1, 1))],
)
def test_every_mode_equals_its_equation_computed_by_hand(mode, alpha, expected, own_query) -> None:
    torch.manual_seed(1)
    layer = AdaptivePromptsAttention(16, 12, 8, mode, alpha, own_query).double()
    hidden, text, image = inputs()
    output = layer(hidden, text, image)
    weights = [np.float32(value) for value in expected]
    for sample in range(2):
        for frame in range(3):
            arrays = (
                hidden[sample, frame].numpy(),
                text.tokens[sample, 0].numpy(),
                image.tokens[sample, frame].numpy(),
            )
            hand = by_hand(layer, *arrays, *weights)
            np.testing.assert_allclose(output[sample, frame].detach().numpy(), hand, rtol=1e-6, atol=1e-9)
    assert layer.alpha_text.requires_grad == (mode == "adaptive")


def test_image_tokens_shared_by_the_frames_equal_the_same_tokens_given_for_each() -> None:
    torch.manual_seed(1)
    layer = AdaptivePromptsAttention(16, 12, 8).double()
    hidden, text, image = inputs()
    shared = image.tokens[:, :1]
    each = Prompt(shared.expand(-1, 3, -1, -1))
    torch.testing.assert_close(layer(hidden, text, Prompt(shared)), layer(hidden, text, each))


def test_image_tokens_a_frame_equal_a_loop_over_the_frames() -> None:
    torch.manual_seed(1)
    layer = AdaptivePromptsAttention(16, 12, 8).double()
    hidden, text, image = inputs()
    whole = layer(hidden, text, image)
    for frame in range(3):
        alone = layer(hidden[:, frame : frame + 1], text, image.frames(frame, frame + 1))
        torch.testing.assert_close(whole[:, frame : frame + 1], alone, rtol=0, atol=1e-12)


def test_keys_and_values_that_a_prompt_carries_are_taken_by_the_layers_name() -> None:
    torch.manual_seed(1)
    layer = AdaptivePromptsAttention(16, 12, 8).double()
    layer.name = "here"
    hidden, text, image = inputs()
    other = Prompt(torch.zeros_like(text.tokens), {"here": layer.text_keys_values(text.tokens)})
    assert torch.equal(layer(hidden, other, image), layer(hidden, text, image))
    elsewhere = Prompt(other.tokens, {"there": other.keys_values["here"]})
    assert not torch.equal(layer(hidden, elsewhere, image), layer(hidden, text, image))


def test_text_only_has_no_image_weights_and_ignores_images() -> None:
    layer = AdaptivePromptsAttention(16, 12, 8, "text_only").double()
    hidden, text, image = inputs()
    assert torch.equal(layer(hidden, text, image), layer(hidden, text, None))
    assert not [name for name, _ in layer.named_parameters() if "image" in name or "alpha" in name]
