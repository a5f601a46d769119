from pathlib import Path

import pytest

from magdiff_curation.toyworld.benchmarks import write_davis, write_dreambooth, write_msrvtt, write_ucf101

SMALLEST = {
    "davis": lambda folder: write_davis(folder, num_videos=1),
    "ucf101": lambda folder: write_ucf101(folder, videos_per_class=1),
    "msrvtt": lambda folder: write_msrvtt(folder, num_videos=3),
    "dreambooth": lambda folder: write_dreambooth(folder, num_subjects=1, images_per_subject=2),
}


class Benchmarks:
    """Toyworld in the four official layouts, as small as they get; a folder is written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        if not (self.folder / name).is_dir():
            SMALLEST[name](self.folder / name)
        return self.folder / name


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Benchmarks:
    return Benchmarks(tmp_path_factory.mktemp("benchmarks"))
