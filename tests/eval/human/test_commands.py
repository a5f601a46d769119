import re
import subprocess
import sys
from pathlib import Path

import pytest
from eval.human.studies import served, small_study, write_study

from magdiff_eval.human import __main__ as commands
from magdiff_eval.human.__main__ import ServeSettings, serve
from magdiff_eval.human.store import Store
from magdiff_eval.human.study import ANSWERS


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path, small_study(1))
    return tmp_path


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving ends at once, as if by Ctrl-C."""

    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.StudyServer, "serve_forever", interrupt)


def test_serving_prints_as_many_links_as_asked_for_and_the_same_ones_again(
    study: Path, stopped: None, capsys: pytest.CaptureFixture[str]
) -> None:
    links = []
    for _ in range(2):
        serve(ServeSettings(study=study, port=0, raters=3, url="https://study.example/"))
        printed = capsys.readouterr()
        links.append(re.findall(r"^rater \d: (https://study\.example/r/\S{32})$", printed.out, re.MULTILINE))
        assert printed.err == ""
    assert len(set(links[0])) == 3
    assert links[0] == links[1]
    assert [link.split("/")[-1] for link in links[0]] == [rater.token for rater in Store(study / ANSWERS).raters()]


def test_other_machines_are_let_in_only_with_a_warning(
    study: Path, stopped: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("127.0.0.1", "localhost"):
        serve(ServeSettings(study=study, port=0, host=host))
        assert capsys.readouterr().err == ""
    serve(ServeSettings(study=study, port=0, host="0.0.0.0"))
    assert "WARNING: whoever reaches 0.0.0.0 can take part" in capsys.readouterr().err
    assert ServeSettings(study=study).host == "127.0.0.1"


def test_what_cannot_be_listened_on_is_told_with_the_remedy(study: Path, tmp_path: Path) -> None:
    with served(study, small_study(1)) as (client, _), pytest.raises(ValueError, match="choose another --port"):
        serve(ServeSettings(study=study, port=client.port))
    with pytest.raises(ValueError, match=r"cannot listen on 203\.0\.113\.7, port 0 .*choose another --host"):
        serve(ServeSettings(study=study, host="203.0.113.7", port=0))
    with pytest.raises(ValueError, match="--raters -1"):
        serve(ServeSettings(study=study, port=0, raters=-1))


def test_a_mistake_is_one_line_on_standard_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "magdiff_eval.human", "report", "--study", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        done.stderr
        == f"human: there is no {tmp_path}/nowhere/study.json: make a study with python -m magdiff_eval.human make\n"
    )
