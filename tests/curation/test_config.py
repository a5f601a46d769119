from dataclasses import replace
from pathlib import Path

import pytest

from magdiff_curation.config import CurationSettings, load_settings

CONFIGS = [
    path
    for path in sorted((Path(__file__).parents[2] / "pipelines" / "configs").glob("*.yaml"))
    if "train" not in path.name
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_settings_file_loads(path: Path) -> None:
    assert load_settings(path).source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outptu: x", "did you mean 'output'"),
        ("filters: {min_short_side: 3}", "did you mean 'min_short_side_px'"),
        ("filters: {min_short_side_px: many}", "filters: min_short_side_px is 'many'; it must be of type int"),
        ("filters: {area_frames: last}", "must be one of 'first', 'mean', 'every'"),
        ("filters: 3", "expected a mapping"),
    ],
)
def test_mistakes_are_refused_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_settings(path)


def test_the_result_hash_changes_with_results_only(tmp_path: Path) -> None:
    settings = CurationSettings()
    assert replace(settings, output=Path("elsewhere"), limit=3).result_sha256() == settings.result_sha256()
    words = tmp_path / "words.yaml"
    hashes = set()
    for text in ("animal: [dog]", "animal: [dog, cat]"):
        words.write_text(text)
        hashes.add(replace(settings, label=replace(settings.label, subject_words=words)).result_sha256())
    assert len(hashes | {settings.result_sha256()}) == 3
    changed = replace(settings, filters=replace(settings.filters, min_area_ratio=0.1))
    assert changed.result_sha256() != settings.result_sha256()
