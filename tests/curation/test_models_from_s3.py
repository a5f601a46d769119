"""Models on S3: fetched once a node, whole or not at all, again where they have changed, and named as local ones."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from object_store import object_store
from tiny_models import save_grounding_dino, save_tiny_sam

from magdiff_curation.backends import check_models, new_grounder, new_segmenter
from magdiff_curation.clips import stores
from magdiff_curation.clips.location import location
from magdiff_curation.config import CurationSettings, LabelSettings, build
from magdiff_curation.models import content_name, local_model
from magdiff_curation.vision_config import AnswerSettings, MaskSettings, SamSettings, ZeroShotSettings


@pytest.fixture(scope="module")
def bucket_url() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAGDIFF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is fetched while a test runs."""
    urls: list[str] = []
    get_file = stores.get_file

    def noted(url: str, local: Path) -> None:
        urls.append(url)
        get_file(url, local)

    monkeypatch.setattr(stores, "get_file", noted)
    return urls


def upload(url: str, **files: str) -> str:
    for name, content in files.items():
        stores.put(location(f"{url}/{name}"), content.encode())
    return url


def upload_folder(url: str, folder: Path) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            stores.put_file(location(f"{url}/{path.relative_to(folder).as_posix()}"), path)
    return url


def contents(folder: str) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in Path(folder).rglob("*") if path.is_file()}


def test_models_load_as_from_a_folder_and_are_fetched_once(
    bucket_url: str, cache: Path, fetched: list[str], tmp_path: Path
) -> None:
    detector, sam = save_grounding_dino(tmp_path / "detector"), save_tiny_sam(tmp_path / "sam")
    local = MaskSettings(
        grounder="zero_shot",
        zero_shot=ZeroShotSettings(model=str(detector), device="cpu"),
        segmenter="sam",
        sam=SamSettings(weights=sam, device="cpu"),
    )
    remote = replace(
        local,
        zero_shot=replace(local.zero_shot, model=upload_folder(f"{bucket_url}/vision/detector", detector)),
        sam=replace(local.sam, weights=Path(upload_folder(f"{bucket_url}/vision/sam", sam))),  # as tyro makes it
    )
    check_models(AnswerSettings(), remote)
    assert len(fetched) == sum(1 for folder in (detector, sam) for path in folder.rglob("*") if path.is_file())
    assert new_grounder(remote).name == new_grounder(local).name
    assert new_segmenter(remote).name == new_segmenter(local).name
    hashes = [CurationSettings(mask=mask).result_sha256() for mask in (local, remote)]
    assert hashes[0] == hashes[1]
    assert len(fetched) == len(set(fetched))


def test_a_file_is_a_model_too_and_neighbours_with_longer_names_are_not_part_of_it(
    bucket_url: str, cache: Path
) -> None:
    upload(f"{bucket_url}/files", **{"sam_vit_b.pth": "1", "sam_vit_b.pth.old": "0"})
    path = Path(local_model(build(SamSettings, {"weights": f"{bucket_url}/files/sam_vit_b.pth"}, "here").weights))
    assert (path.name, path.read_text()) == ("sam_vit_b.pth", "1")


def test_weights_trained_again_under_the_same_url_are_fetched_anew(bucket_url: str, cache: Path) -> None:
    url = upload(f"{bucket_url}/trained", **{"config.json": "{}", "model/weights": "1"})
    settings = CurationSettings(label=LabelSettings(embedder=url))
    first, name = local_model(url), content_name(url)
    upload(url, **{"model/weights": "2"})
    assert contents(local_model(url)) == {"config.json": "{}", "model/weights": "2"}
    assert contents(first)["model/weights"] == "1"
    assert name != content_name(url)
    assert Path(first).name == "trained" == str(name).split("@")[0]
    upload(url, **{"model/weights": "1"})
    assert contents(local_model(url)) == contents(first)
    assert settings.weights == {"label.embedder": name}


def test_a_model_that_changes_while_a_run_goes_on_stops_the_workers_that_have_yet_to_load_it(
    bucket_url: str, cache: Path
) -> None:
    url = upload(f"{bucket_url}/changing", weights="1")
    settings = CurationSettings(label=LabelSettings(embedder=url))
    begun_with = settings.result_sha256()
    settings.check_weights("label")
    upload(url, weights="2")
    settings = copy.deepcopy(settings)  # as it is sent to a worker: with what the driver looked up
    assert settings.result_sha256() == begun_with
    settings.check_weights("mask")
    with pytest.raises(
        ValueError, match=r"label.embedder: s3://\S+ is changing@\w+ on node .* it is changing@\w+: .*run again"
    ):
        settings.check_weights("label")


def test_a_folder_that_only_the_drivers_node_has_is_named_with_the_node_and_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "embedder"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("1")
    settings = CurationSettings(label=LabelSettings(embedder=str(folder)))
    settings.result_sha256()
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match=r"label.embedder: there is no \S+embedder on node .*every node sees.*s3://"):
        settings.check_weights("label")


def test_workers_that_ask_at_once_end_with_one_good_folder(bucket_url: str, cache: Path) -> None:
    url = upload(f"{bucket_url}/wanted", **{f"part-{number}": str(number) * 100_000 for number in range(8)})
    workers = [ask(url, "time.sleep(0.05); get_file(source, local)") for _ in range(3)]
    said = [worker.communicate(timeout=60)[0].split() for worker in workers]
    (place,) = {place for place, _ in said}
    assert sorted(int(count) for _, count in said) == [0, 0, 8]
    assert contents(place) == {f"part-{number}": str(number) * 100_000 for number in range(8)}
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == [Path(place).parent.name]


def test_what_a_killed_worker_left_is_cleared_away(bucket_url: str, cache: Path) -> None:
    url = upload(f"{bucket_url}/killed", a="1")
    assert ask(url, "local.write_bytes(b'half'); os.kill(os.getpid(), 9)").wait(timeout=60) == -9
    (stray,) = cache.rglob("*a.*.tmp")
    assert contents(local_model(url)) == {"a": "1"}
    assert not stray.exists()


def ask(url: str, get_file: str) -> subprocess.Popen[str]:
    """Return a process that asks for a model, and says where it is and how many files it fetched, by `get_file`."""
    code = (
        "import os, time\n"
        "from magdiff_curation import models\n"
        "get_file, count = models.stores.get_file, 0\n"
        "def counted(source, local):\n"
        "    global count\n"
        "    count += 1\n"
        f"    {get_file}\n"
        "models.stores.get_file = counted\n"
        f"print(models.local_model({url!r}), count)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_what_breaks_off_leaves_nothing_that_is_taken_for_whole(
    bucket_url: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = upload(f"{bucket_url}/broken", a="1", b="22")
    get_file = stores.get_file

    def fills_the_disk(source: str, local: Path) -> None:
        get_file(source, local)
        if source.endswith("b"):
            raise OSError(28, "No space left on device")

    def cuts_off(source: str, local: Path) -> None:
        local.write_text("1")

    def is_overtaken(source: str, local: Path) -> None:
        get_file(source, local)
        upload(url, a="3")

    for fault, message in ((fills_the_disk, "No space left"), (cuts_off, "broke off"), (is_overtaken, "changed")):
        monkeypatch.setattr(stores, "get_file", fault)
        with pytest.raises(ValueError, match=rf"{url} cannot be fetched to .*{message}.*MAGDIFF_CACHE"):
            local_model(url)
        assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []
    monkeypatch.setattr(stores, "get_file", get_file)
    assert contents(local_model(url)) == {"a": "3", "b": "22"}


@pytest.mark.parametrize("place", ["bucket/nothing", "no-such-bucket/blip2", "bucket/blip"])
def test_where_nothing_is_the_url_is_named(bucket_url: str, cache: Path, place: str) -> None:
    upload(f"{bucket_url}/blip2", weights="1")
    settings = AnswerSettings(backend="image_text")
    settings = replace(settings, image_text=replace(settings.image_text, model=f"s3://{place}"))
    with pytest.raises(ValueError, match=rf"answer.image_text.model: there is no model at s3://{place}: give"):
        check_models(settings, MaskSettings())


def test_objects_that_would_lie_outside_the_cache_are_refused(bucket_url: str, cache: Path) -> None:
    url = f"{bucket_url}/hostile"
    stores._store(location(url))[0].call_s3("put_object", Bucket="bucket", Key="hostile/../../x", Body=b"")
    with pytest.raises(ValueError, match="names that no files can have"):
        local_model(url)


def test_another_store_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="gs://bucket/model: give a local path or s3://bucket/key"):
        local_model("gs://bucket/model")
