"""dvc.yaml and the code agree: every stage depends on exactly the modules that it imports."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = REPOSITORY / "src"


def read_stages(file: str = "dvc.yaml") -> dict[str, dict[str, Any]]:
    """The stages of a pipeline; of a group, what each member does."""
    stages = YAML(typ="safe").load((REPOSITORY / file).read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


def import_closure(module: Path) -> set[Path]:
    """The module and every module of varistar that it imports, directly or not, at any depth of nesting.

    Imports for type checkers alone do not count: nothing of them runs.
    """
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        package = list(path.relative_to(SOURCE).with_suffix("").parts)[:-1]
        for node in _running_nodes(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                names = [*base, *(node.module or "").split(".")] if node.module else base
                waiting += _modules_of(names, [alias.name for alias in node.names])
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    waiting += _modules_of(alias.name.split("."), [])
    return found


def _running_nodes(tree: ast.AST) -> list[ast.AST]:
    nodes, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
            continue
        nodes.append(node)
        waiting += ast.iter_child_nodes(node)
    return nodes


def _modules_of(names: list[str], imported: list[str]) -> list[Path]:
    if not names or names[0] != "varistar":
        return []
    place = SOURCE.joinpath(*names)
    if place.with_suffix(".py").exists():
        return [place.with_suffix(".py")]
    return [place / f"{name}.py" for name in imported if (place / f"{name}.py").exists()]


STAGES = read_stages()


def module_of(stage: str) -> str:
    """The module of a stage: of the period chain, but for those that come after."""
    after = {"catalog": "varistar.catalog.survey", "completeness": "varistar.catalog.completeness"}
    return after.get(stage, f"varistar.periods.{stage}")


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_what_it_imports(name: str) -> None:
    module = SOURCE / f"{module_of(name).replace('.', '/')}.py"
    wanted = {path.relative_to(REPOSITORY).as_posix() for path in import_closure(module)}
    listed = {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")}
    assert listed == wanted, f"missing: {sorted(wanted - listed)}; too many: {sorted(listed - wanted)}"


def test_each_stage_runs_the_module_of_its_name() -> None:
    for name, stage in STAGES.items():
        assert stage["cmd"].startswith(f"python -m {module_of(name)}"), stage["cmd"]


PERIODS = YAML(typ="safe").load((REPOSITORY / "params.yaml").read_text())["periods"]


def test_evaluation_waits_for_the_samples_of_the_tests_and_no_others() -> None:
    injected = [
        dep.removeprefix("build/periods/injected/") for dep in STAGES["evaluate"]["deps"] if "/injected/" in dep
    ]
    assert sorted(injected) == sorted(PERIODS["tests"])
    assert "periods.tests" in STAGES["evaluate"]["params"]


FLARES = read_stages("flares/dvc.yaml")


@pytest.mark.parametrize("name", FLARES)
def test_a_stage_of_flares_depends_on_what_it_imports(name: str) -> None:
    stage = FLARES[name]
    room = "catalog" if name in ("flare_survey", "flare_science") else "flares"
    module = SOURCE / f"varistar/{room}/{name}.py"
    wanted = {path.relative_to(REPOSITORY).as_posix() for path in import_closure(module)}
    listed = {dep for dep in stage["deps"] if dep.startswith("src/")}
    assert listed == wanted, f"missing: {sorted(wanted - listed)}; too many: {sorted(listed - wanted)}"
    assert stage["cmd"].startswith(f"python -m varistar.{room}.{name}"), stage["cmd"]


@pytest.mark.parametrize(("wing", "wdir"), [("periods", ".."), ("flares", "../..")])
def test_the_study_goes_through_the_stages_of_the_variants(wing: str, wdir: str) -> None:
    """With its own parameters and metrics, from a folder of its own, and with everything else the same."""
    variants, file = (STAGES, "study/dvc.yaml") if wing == "periods" else (FLARES, "flares/study/dvc.yaml")
    metrics = "metrics/study" if wing == "periods" else "metrics/study/flares"
    study = read_stages(file)
    assert list(study) == ["train", "calibrate", "evaluate"]
    for name, stage in study.items():
        theirs = json.dumps({key: value for key, value in variants[name].items() if key != "wdir"})
        theirs = theirs.replace(f"{wing}.variants.", f"{wing}.study.")
        theirs = theirs.replace(f"metrics/{wing}/${{key}}", f"{metrics}/${{key}}")
        if wing == "flares":  # a rebuild waits for all that the variants leave in their folders
            theirs = re.sub(r"build/flares/(\w+)/\$\{key\}", r"build/flares/study/\1/${key}", theirs)
        assert stage.pop("wdir") == wdir
        assert stage == json.loads(theirs), name
