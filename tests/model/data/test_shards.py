import shutil
from pathlib import Path

import pytest
from object_store import object_store

from magdiff_curation.clips.atomic import atomic_file
from magdiff_curation.clips.index import ShardError
from magdiff_curation.clips.location import location
from magdiff_curation.clips.stores import put_file
from magdiff_model.data.shards import find_shards

NAMES = [f"clips-{number:06d}.tar" for number in range(3)]


def names(sources: list[str]) -> list[str]:
    return [path.name for path in find_shards(sources)]


def test_a_folder_a_tar_a_glob_braces_and_lists_name_the_same_shards(three_shards: Path, tmp_path: Path) -> None:
    folder = str(three_shards)
    truth = [three_shards / name for name in NAMES]
    assert find_shards([folder]) == truth
    assert find_shards([f"{folder}/{name}" for name in NAMES]) == truth
    assert find_shards([folder + "/*.tar"]) == truth
    assert find_shards([folder + "/clips-{000000..000002}.tar"]) == truth
    assert names([folder + "/clips-00000{2,0}.tar"]) == [NAMES[2], NAMES[0]]
    assert names([folder + "/clips-00000[02].tar", folder + "/clips-{000001..000001}.tar"]) == [
        NAMES[0],
        NAMES[2],
        NAMES[1],
    ]
    (tmp_path / "list.txt").write_text(f"# mine\n{folder}/clips-000001.tar\n\n{folder}/clips-00000{{0,2}}.tar\n")
    assert names([str(tmp_path / "list.txt")]) == [NAMES[1], NAMES[0], NAMES[2]]


def test_a_lists_lines_are_relative_to_it_and_patterns_to_the_working_folder(
    three_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(three_shards, tmp_path / "sets" / "one")
    (tmp_path / "sets" / "list.txt").write_text("one\n")
    assert names([str(tmp_path / "sets" / "list.txt")]) == NAMES
    monkeypatch.chdir(tmp_path / "sets" / "one")
    assert find_shards(["*.tar"]) == [Path(name) for name in NAMES]
    assert names(["../o*"]) == NAMES


def test_names_that_look_like_patterns_are_names_where_such_files_are_there(three_shards: Path, tmp_path: Path) -> None:
    shutil.copytree(three_shards, tmp_path / "a{1,2}[x]")
    assert names([str(tmp_path / "a{1,2}[x]")]) == NAMES


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing", "there is nothing at nothing: give a folder of shards"),
        ("nothing.tar", r"there is nothing at nothing\.tar"),
        ("nothing/*.tar", r"nothing/\*\.tar matches no \.tar"),
        ("clips-{0..3.tar", "a brace has no partner"),
        ("nothing.txt", r"list of shards nothing\.txt cannot be read"),
        ("empty.txt", "is empty: write one tar"),
        ("nested.txt", r"names another list, empty\.txt"),
        ("empty", r"has no shards\.json"),
        ("gs://bucket/x", r"local path or s3://bucket/key.*or http"),
        ("http://127.0.0.1/x/*.tar", "a web server does not list its files: use braces"),
        ("http://127.0.0.1/x.tar?signature=1", "no query"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_do(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("empty.txt").write_text("# nothing\n")
    Path("nested.txt").write_text("empty.txt\n")
    with pytest.raises(ValueError, match=message):
        find_shards([source])


def test_no_sources_and_one_shard_named_twice_are_refused(three_shards: Path) -> None:
    with pytest.raises(ValueError, match="no shards were given"):
        find_shards([])
    again = f"{three_shards}/../{three_shards.name}/clips-000001.tar"
    with pytest.raises(ValueError, match=rf"clips-000001\.tar is named twice: by '{three_shards}' and by '.*\.\./"):
        find_shards([str(three_shards), again])


def test_urls_of_folders_tars_braces_and_globs(three_shards: Path, web) -> None:
    truth = [f"{web.url}/{name}" for name in NAMES]
    assert list(map(str, find_shards([web.url]))) == truth
    assert list(map(str, find_shards([web.url + "/"]))) == truth
    assert list(map(str, find_shards([web.url + "/clips-{000000..000002}.tar"]))) == truth
    with pytest.raises(ValueError, match=r"none has no shards\.json"):
        find_shards([web.url + "/none"])
    with object_store() as bucket:
        for file in three_shards.iterdir():
            put_file(location(f"{bucket}/set/{file.name}"), file)
        truth = [f"{bucket}/set/{name}" for name in NAMES]
        for source in ("", "/clips-{000000..000002}.tar", "/clips-00000?.tar", "/*.tar"):
            assert list(map(str, find_shards([f"{bucket}/set{source}"]))) == truth
        with pytest.raises(ValueError, match=r"set/x\*\.tar matches no \.tar"):
            find_shards([f"{bucket}/set/x*.tar"])


def test_nothing_is_written_to_a_web_server(web) -> None:
    path = location(f"{web.url}/clips-000000.tar", web=True)
    with pytest.raises(OSError, match="web servers are only read from"), atomic_file(path) as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="give a local path or s3://"):
        location(web.url)


def test_a_tar_without_an_index_is_refused_with_the_command_that_makes_one(three_shards: Path, tmp_path: Path) -> None:
    from magdiff_curation.clips.index import load_indexes

    shutil.copy(three_shards / NAMES[0], tmp_path)
    with pytest.raises(ShardError, match=r"clips-000000\.tar has no index .*curate\.py index"):
        load_indexes(find_shards([str(tmp_path / "*.tar")]))
