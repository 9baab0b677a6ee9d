"""The hashes are DVC's, also while a stage is running."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import varistar
from varistar.experiments.lineage import (
    StageInput,
    git_state,
    inputs_at,
    known_hashes,
    machine,
    package_versions,
    stage_inputs,
    write_sidecar,
)
from varistar.foundation.errors import DataError

LOCK = """\
schema: '2.0'
stages:
  simulate:
    cmd: simulate
    deps:
    - {path: src/simulate.py, hash: md5, md5: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, size: 5}
    outs:
    - {path: build/images, hash: md5, md5: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.dir, size: 4096, nfiles: 3}
  train@cnn:
    cmd: train
    deps:
    - {path: build/images, hash: md5, md5: ffffffffffffffffffffffffffffffff.dir, size: 4000, nfiles: 3}
    - {path: data/catalog.csv, hash: md5, md5: cccccccccccccccccccccccccccccccc, size: 7}
    - {path: src/train.py, hash: md5, md5: dddddddddddddddddddddddddddddddd, size: 9}
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "data.dvc").write_text("outs:\n- md5: eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee.dir\n  size: 70\n  path: data\n")
    return tmp_path


def test_a_running_stage_sees_the_hashes_of_now(checkout):
    """Its own record is of the run before: `build/images` has changed since, and `data` has its own `.dvc` file."""
    assert stage_inputs(checkout, "train@cnn") == [
        StageInput("build/images", "b" * 32 + ".dir", 4096),
        StageInput("data", "e" * 32 + ".dir", 70),
        StageInput("src/train.py", "d" * 32, 9),
    ]


def test_inputs_by_path(checkout):
    images = StageInput("build/images", "b" * 32 + ".dir", 4096)
    paths = ["build/images", checkout / "build" / "images" / "part-0.npy", "elsewhere", checkout / "../outside"]
    assert inputs_at(checkout, paths) == [images]


def test_nothing_is_known_outside_a_checkout(tmp_path):
    assert stage_inputs(tmp_path, "train") == []
    assert known_hashes(tmp_path) == {}
    assert git_state(tmp_path / "nowhere") is None


def test_a_stage_that_never_finished_has_no_record(checkout):
    assert stage_inputs(checkout, "evaluate") == []


@pytest.mark.parametrize("text", ["stages: [", "just a word", "\x00"])
def test_a_damaged_lock_is_named(tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(DataError, match=r"dvc\.lock: "):
        stage_inputs(tmp_path, "train")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_state(tmp_path):
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init")
    assert git_state(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    state = git_state(tmp_path)
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (tmp_path / "new").write_text("untracked files change no result that git knows of")
    assert not git_state(tmp_path)["dirty"]
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == {"commit": state["commit"], "dirty": True}


def test_the_lock_that_dvc_itself_writes(tmp_path):
    """The format above is DVC's, and the record of a stage is the one before while the stage runs."""
    stage = f"{sys.executable} stage.py"
    (tmp_path / "dvc.yaml").write_text(
        f"stages:\n  first:\n    cmd: echo 1 > first.txt\n    deps: [seed]\n    outs: [first.txt]\n"
        f"  second:\n    cmd: {stage}\n    deps: [first.txt]\n    outs: [second.json]\n"
    )
    (tmp_path / "seed").write_text("s")
    (tmp_path / "stage.py").write_text(
        "import json, pathlib\n"
        "from varistar.experiments.lineage import inputs_at, stage_inputs\n"
        "root = pathlib.Path()\n"
        "found = [[i.md5 for i in inputs_at(root, ['first.txt'])], [i.md5 for i in stage_inputs(root, 'second')]]\n"
        "pathlib.Path('second.json').write_text(json.dumps(found))\n"
    )
    first, second = _reproduce(tmp_path, "1")
    assert first == ["b026324c6904b2a9cb4b88d6d61c81d1"]  # md5 of "1\n"
    assert second == []
    (tmp_path / "dvc.yaml").write_text((tmp_path / "dvc.yaml").read_text().replace("echo 1", "echo 2"))
    first, second = _reproduce(tmp_path, "2")
    assert first == second == ["26ab0db90d72e28ad0ba1e22ee510510"]  # md5 of "2\n"


def test_the_sidecar_tells_where_a_result_comes_from(checkout):
    path = checkout / "build" / "sidecar.json"
    write_sidecar(path, checkout, "train@cnn", run_id="abc")
    written = json.loads(path.read_text())
    assert written["run_id"] == "abc"
    assert [i["path"] for i in written["inputs"]] == ["build/images", "data", "src/train.py"]
    assert written["machine"] == machine()
    assert written["packages"] == package_versions()
    assert written["packages"]["numpy"].count(".") == 2
    assert machine()["cores"] >= 1


def test_packages_that_are_not_installed_are_left_out():
    assert set(package_versions(["numpy", "no-such-package-of-ours"])) == {"python", "numpy"}


def _reproduce(root: Path, expected: str) -> list[list[str]]:
    """Run the pipeline of `root` as a user would, without git."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(varistar.__file__).resolve().parent.parent),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(root / ".site"),
    }
    dvc = [sys.executable, "-m", "dvc"]
    if not (root / ".dvc").exists():
        subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=root, env=environment, check=True)
    subprocess.run([*dvc, "repro", "-q"], cwd=root, env=environment, check=True)
    assert (root / "first.txt").read_text().strip() == expected
    return json.loads((root / "second.json").read_text())
