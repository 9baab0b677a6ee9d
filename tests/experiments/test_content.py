"""Equal content gives equal bytes; anything else is refused."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from varistar.experiments.content import (
    DTYPES,
    SPEC,
    WEIGHTS,
    Architecture,
    ModelContent,
    content_hash,
    read_content,
    write_content,
)
from varistar.foundation.errors import RegistryError


@pytest.fixture
def tensors():
    generator = np.random.default_rng(3)
    return {dtype: (10 * generator.normal(size=(3, 2))).astype(dtype) for dtype in DTYPES} | {
        "scalar": np.array(7, dtype=np.int64),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }


def test_round_trip_keeps_values_types_and_shapes(tmp_path, spec, tensors):
    write_content(tmp_path / "m", ModelContent(spec(), tensors))
    read = read_content(tmp_path / "m")
    assert read.spec == spec()
    assert read.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert read.tensors[name].shape == tensor.shape
        np.testing.assert_array_equal(read.tensors[name], tensor)


def test_equal_content_gives_equal_bytes(tmp_path, spec, tensors):
    """Whatever the order of keys, the memory layout, the byte order, and whether NumPy or torch holds the tensors."""
    reference = write_content(tmp_path / "a", ModelContent(spec(preprocessing={"x": 1, "y": 2}), tensors))
    variants = {
        "other order": {
            name: np.array(tensor, order="F").astype(tensor.dtype.newbyteorder(">"))
            for name, tensor in reversed(tensors.items())
        },
        "torch": {
            name: torch.from_numpy(tensor.copy()).requires_grad_(name == "float32") for name, tensor in tensors.items()
        },
        "strided": {
            name: np.repeat(tensor, 2, axis=-1)[..., ::2] if tensor.ndim else tensor for name, tensor in tensors.items()
        },
    }
    for folder, variant in variants.items():
        content = ModelContent(spec(preprocessing={"y": 2, "x": 1}), variant)
        assert write_content(tmp_path / folder, content) == reference, folder
        for file in (WEIGHTS, SPEC):
            assert (tmp_path / folder / file).read_bytes() == (tmp_path / "a" / file).read_bytes()


def test_the_bytes_do_not_depend_on_the_process(tmp_path, make_content, python):
    """The order of a set or a hash seed must not reach the file."""
    code = """
import sys
from pathlib import Path
from varistar.experiments.content import read_content, write_content
print(write_content(Path(sys.argv[2]), read_content(Path(sys.argv[1]))))
"""
    folder = make_content()
    out, _ = python(code, folder, tmp_path / "again").communicate()
    assert out.strip() == content_hash(folder)


def test_the_hash_is_of_both_files(tmp_path, make_content, spec):
    folder = make_content()
    expected = hashlib.sha256()
    for name in (SPEC, WEIGHTS):
        expected.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    assert content_hash(folder) == expected.hexdigest()
    assert content_hash(make_content(seed=1)) != content_hash(folder)
    assert content_hash(make_content(seed=0, calibration={"scale": 1.6})) != expected.hexdigest()


def test_the_state_dict_may_be_changed(make_content):
    content = read_content(make_content())
    before = content.tensors["head.bias"].copy()
    content.state_dict()["head.bias"].zero_()
    np.testing.assert_array_equal(content.tensors["head.bias"], before)


def test_undefined_metrics_are_null(tmp_path, spec):
    write_content(tmp_path / "m", ModelContent(spec(metrics={"a": float("nan"), "b": np.float64("inf"), "c": 1}), {}))
    assert json.loads((tmp_path / "m" / SPEC).read_text())["metrics"] == {"a": None, "b": None, "c": 1.0}
    assert read_content(tmp_path / "m").spec.metrics == {"a": None, "b": None, "c": 1.0}


@pytest.mark.parametrize("name", ["model.pkl", "weights.pt", "weights.pth", "weights.bin", "README.md", ".hidden"])
def test_any_other_file_is_refused(make_content, name):
    folder = make_content()
    (folder / name).write_bytes(pickle.dumps({}))
    for read in (read_content, content_hash):
        with pytest.raises(RegistryError, match=f"refusing '{name}'.*never a pickle"):
            read(folder)


def test_a_folder_inside_is_refused(make_content):
    folder = make_content()
    (folder / "more").mkdir()
    with pytest.raises(RegistryError, match="refusing 'more'"):
        read_content(folder)


def test_a_pickle_under_the_right_name_is_refused(make_content):
    """Even one that would act when loaded."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (trapped,)

    folder = make_content()
    trapped = folder.parent / "trapped"
    for dump in (
        lambda: (folder / WEIGHTS).write_bytes(pickle.dumps(Trap())),
        lambda: torch.save(Trap(), folder / WEIGHTS),
    ):
        dump()
        with pytest.raises(RegistryError, match=r"weights\.safetensors: not a safetensors file \(pickle is refused\)"):
            read_content(folder)
    assert not trapped.exists()


@pytest.mark.parametrize("file", [WEIGHTS, SPEC])
def test_a_missing_file_is_named(make_content, file):
    folder = make_content()
    (folder / file).unlink()
    with pytest.raises(RegistryError, match=f"'{file}' is missing"):
        read_content(folder)


@pytest.mark.parametrize("file", [WEIGHTS, SPEC])
def test_a_truncated_file_is_named(make_content, file):
    folder = make_content()
    whole = (folder / file).read_bytes()
    for length in (0, 4, len(whole) // 2, len(whole) - 2):
        (folder / file).write_bytes(whole[:length])
        with pytest.raises(RegistryError, match=file):
            read_content(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RegistryError, match="nowhere: no such model"):
        read_content(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"calibration": None}, "'calibration'"),
        ({"format": 2}, "'format'"),
        ({"wing": "../periods"}, "'wing'"),
        ({"run_id": "abc"}, "key 'run_id' does not exist"),
        ({"metrics": {"a": "good"}}, r"'metrics\.a'"),
    ],
)
def test_a_wrong_specification_is_refused(make_content, change, sentence):
    folder = make_content()
    values = {**json.loads((folder / SPEC).read_text()), **change}
    (folder / SPEC).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    with pytest.raises(RegistryError, match=rf"model\.json: .*{sentence}"):
        read_content(folder)


def test_a_specification_that_is_no_object_is_refused(make_content):
    folder = make_content()
    (folder / SPEC).write_text("[]")
    with pytest.raises(RegistryError, match="expected a JSON object"):
        read_content(folder)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, Path("/tmp"), np.zeros(2)])
def test_what_json_cannot_hold_is_refused_and_nothing_is_written(tmp_path, spec, value):
    content = ModelContent(spec(architecture=Architecture(name="tiny", settings={"x": value})), {})
    with pytest.raises(RegistryError, match=r"model\.json: cannot be written as JSON"):
        write_content(tmp_path / "m", content)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tensor", [torch.zeros(2, dtype=torch.bfloat16), np.zeros(2, complex), np.array(["a"])])
def test_a_tensor_that_would_not_round_trip_is_refused(tmp_path, spec, tensor):
    with pytest.raises(RegistryError, match="tensor 'odd' is "):
        write_content(tmp_path / "m", ModelContent(spec(), {"odd": tensor}))
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_the_content_as_a_whole(make_content):
    folder = make_content()
    shutil.copy(folder / WEIGHTS, folder / "stale.pt")
    again = make_content()
    assert again == folder
    assert sorted(path.name for path in folder.iterdir()) == [SPEC, WEIGHTS]
