"""params.yaml is read as DVC reads it, and whatever is wrong with it is one sentence."""

from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml

from varistar.foundation.errors import ConfigError
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.foundation.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]


class Sky(Settings):
    seed: int


def write(folder: Path, text: str | bytes) -> Path:
    (folder / "params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as error:
        read_params(folder)
    text = str(error.value)
    assert text.startswith(f"{folder / 'params.yaml'}: ") and "\n" not in text
    return text.removeprefix(f"{folder / 'params.yaml'}: ")


def test_the_project_is_the_nearest_folder_with_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = tmp_path, tmp_path / "a" / "b"
    (inner / "c" / "d").mkdir(parents=True)
    write(outer, "sky: {}\n")
    write(inner, "sky: {}\n")
    assert find_root(inner / "c" / "d") == inner
    assert find_root(inner) == inner
    assert find_root(inner.parent) == outer
    monkeypatch.chdir(inner / "c")
    assert find_root() == inner


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no params\.yaml in .* or above it: run this inside a varistar project"):
        find_root(tmp_path)
    with pytest.raises(ConfigError, match=r"typo: no such folder$"):
        find_root(write(tmp_path, "sky: {}\n") / "typo")


def test_a_folder_called_params_is_none(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"no params\.yaml"):
        find_root(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_params(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sky: [1,\n", "not valid YAML at line 2"),
        ("a: 1\nsky: 1\nsky: 2\n", 'not valid YAML at line 3: found duplicate key "sky"'),
        ("sky:\n\tseed: 1\n", "not valid YAML at line 2: found character '\\t'"),
        ("sky: *gone\n", "not valid YAML at line 1: found undefined alias 'gone'"),
        ("sky: !!python/object/apply:os.system [ls]\n", "not valid YAML at line 1: could not determine a constructor"),
        (b"sky: \xff\n", "not valid YAML: 'utf-8' codec can't decode byte 0xff"),
        (b"sky: \x00\n", "not valid YAML: unacceptable character"),
        ("sky: 1\n---\nsky: 2\n", "not valid YAML at line 2: but found another document"),
        ("", "expected sections such as 'surveys' and 'periods', found NoneType"),
        ("- sky\n", "expected sections such as 'surveys' and 'periods', found list"),
        ("sky", "expected sections such as 'surveys' and 'periods', found str"),
    ],
)
def test_wrong_yaml(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert refusal(write(tmp_path, text)).startswith(said)


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "no such file"


def test_yaml_means_what_it_means_to_dvc(tmp_path: Path) -> None:
    """YAML 1.2: `no` and `on` are words, 012 is twelve, 1_000 and 12:30:45 are no numbers."""
    text = "a: no\nb: on\nc: 012\nd: 0o14\ne: 1e-3\nf: 1_000\ng: 12:30:45\nh: ~\ni: &x {k: 1}\nj: {<<: *x, l: 2}\n"
    read = read_params(write(tmp_path, text))
    assert read == parse_yaml(text, "params.yaml")
    assert (read["a"], read["b"], read["j"]) == ("no", "on", {"k": 1, "l": 2})


def test_the_projects_own_params_are_read_as_dvc_reads_them() -> None:
    path = REPOSITORY / "params.yaml"
    assert read_params(REPOSITORY) == parse_yaml(path.read_text(encoding="utf-8"), path)


def test_lookup() -> None:
    params = {"periods": {"samples": {"clump": 3}, "survey": "asassn", "none": None}, 7: 1}
    assert lookup(params, "periods.samples.clump") == 3
    assert lookup(params, "periods.none") is None
    for key, said in [
        ("periods.samples.quasar", "'periods.samples.quasar' does not exist; periods.samples has clump"),
        ("perods.samples", "'perods.samples' does not exist; the top level has periods, 7"),
        ("periods.survey.name", "'periods.survey.name' does not exist; periods.survey has no keys"),
    ]:
        with pytest.raises(ConfigError) as error:
            lookup(params, key)
        assert str(error.value) == f"params.yaml: {said}"


def test_a_section_is_read_without_the_others(tmp_path: Path) -> None:
    root = write(tmp_path, "periods: {nonsense: true}\nskies: {north: {seed: 3}, south: {seed: x}}\n")
    assert read_section(root, "skies.north", Sky) == Sky(seed=3)
    with pytest.raises(ConfigError) as error:
        read_section(root, "skies.south", Sky)
    assert str(error.value) == "params.yaml: skies.south: 'seed': Input should be a valid integer (got 'x')"
    with pytest.raises(ConfigError, match=r"'skies\.west' does not exist; skies has north, south"):
        read_section(root, "skies.west", Sky)
