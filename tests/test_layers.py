"""The one rule between the packages: imports go against the arrow of the data, and clips stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[1] / "packages"
FORBIDDEN = {"curation": {"magdiff_model", "magdiff_eval"}, "model": {"magdiff_eval", "ray"}, "eval": {"ray"}}
CLIPS_MAY_IMPORT = {"numpy", "av", "PIL", "magdiff_curation", "fsspec", "upath"} | set(sys.stdlib_module_names)


def imported_roots(path: Path) -> set[str]:
    roots = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_packages_import_only_what_stands_before_them(package: str) -> None:
    files = sorted((PACKAGES / package / "src").rglob("*.py"))
    assert files
    for path in files:
        assert not imported_roots(path) & FORBIDDEN[package], path


def test_clips_import_nothing_heavier_than_numpy_pyav_and_pillow() -> None:
    files = sorted((PACKAGES / "curation" / "src" / "magdiff_curation" / "clips").glob("*.py"))
    assert len(files) >= 6
    for path in files:
        assert imported_roots(path) <= CLIPS_MAY_IMPORT, path


def test_importing_clips_loads_nothing_heavier_at_run_time() -> None:
    code = (
        "import sys, magdiff_curation.clips.shards, magdiff_curation.clips.video\n"
        "print(sorted({'torch', 'ray', 'spacy', 'cv2', 'pyarrow', 'transformers'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
