"""From a model's content to a version in MLflow's registry, and back to something that predicts.

The package is MLflow's PyTorch flavour in its `pt2` form (torch.export): a graph and raw tensors instead of a pickle,
a signature that refuses wrong shapes and types, the requirements, a model card, and the content itself. (torch.export
keeps its example input as a `torch.save` record and insists on it; loading refuses that record unless it is nothing
but tensors.) `predict` is calibrated, since the wing hands over the network with the calibration inside.

A package is checked against the network it was made of before it is registered, and a version is found again by the
hash of its content, because version numbers start anew with every store.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from varistar.foundation.errors import RegistryError

from .content import SPEC, WEIGHTS, ModelContent, content_hash, read_content
from .store import EXPERIMENT, client, ensure_store, held, in_one_sentence

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import PyFuncModel

HASH_TAG = "content_hash"
REQUIREMENTS = ("torch", "numpy", "mlflow")
LOCK_SECONDS = 600.0

# Another batch size may sum float32 in another order; a mistake in the export is far larger.
RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-5


def package(
    root: Path,
    folder: Path,
    load_network: "Callable[[ModelContent], tuple[torch.nn.Module, NDArray[Any]]]",
    *,
    experiment: str = EXPERIMENT,
    run_id: str | None = None,
    card: str | None = None,
) -> str:
    """Register the content in `folder` as a version of `varistar-<wing>`, or find the version that holds it already.

    Parameters
    ----------
    root : Path
        The repository.
    folder : Path
        A model's content.
    load_network : callable
        From the content to the network with its calibration, `(batch, ...) -> (batch, outputs)`, and an example of
        its input: a batch of at least two, of the type that it takes. Any batch is served; a network that takes any
        length along further axes of its input says which in `free_axes`, such as `(0, 2)`.
    experiment, run_id : str
        The experiment to list the package under, and the run that trained it, if the store has it.
    card : str, optional
        The model card, Markdown; by default one is made from the specification.

    Returns
    -------
    str
        The version.

    Raises
    ------
    RegistryError
        When the content is refused, the network cannot be exported, or the export answers otherwise than the network.
    """
    content = read_content(folder)
    digest = content_hash(folder)
    name = registered_name(content.spec.wing)
    uri = ensure_store(root, experiment)
    lock = root / "mlruns" / f".package-{name}.lock"
    with in_one_sentence(uri), held(lock, LOCK_SECONDS, f"another process is registering {name}"):
        mlflow_client = client(uri)
        if (version := find_version(mlflow_client, name, digest)) is not None:
            return version
        network, example = load_network(content)
        network = network.cpu().eval()
        signature = _signature(network, example)
        card = card or model_card(content, digest)
        with tempfile.TemporaryDirectory() as scratch, _global_store(uri):
            readme = Path(scratch) / "README.md"
            readme.write_text(card, encoding="utf-8")
            found = mlflow_client.get_experiment_by_name(experiment)
            model = mlflow_client.create_logged_model(
                found.experiment_id if found else "0", name=name, source_run_id=run_id, tags={HASH_TAG: digest}
            )
            files = Path(scratch) / "package"
            try:
                _export(files, model, network, example[:2], signature, [readme, folder / SPEC, folder / WEIGHTS])
                _compare(files, network, example)
            except BaseException:
                mlflow_client.finalize_logged_model(model.model_id, "FAILED")
                raise
            mlflow_client.log_model_artifacts(model.model_id, str(files))
            mlflow_client.finalize_logged_model(model.model_id, "READY")
            return _new_version(mlflow_client, name, model.model_id, run_id, digest, card)


def set_aliases(root: Path, wing: str, champion: str, challenger: str | None = None) -> None:
    """Let `@champion` and `@challenger` of the wing's registered model name these versions.

    Without a challenger that alias stays, unless its version has become champion.
    """
    uri = ensure_store(root)
    name = registered_name(wing)
    with in_one_sentence(uri):
        mlflow_client = client(uri)
        aliases = mlflow_client.get_registered_model(name).aliases
        if str(aliases.get("champion")) != champion:
            mlflow_client.set_registered_model_alias(name, "champion", champion)
        if challenger is not None:
            mlflow_client.set_registered_model_alias(name, "challenger", challenger)
        elif str(aliases.get("challenger")) == champion:
            mlflow_client.delete_registered_model_alias(name, "challenger")


def load_packaged(root: Path, wing: str, alias: str = "champion") -> "PyFuncModel":
    """The registered model of `wing`, for `predict`, with pickle refused.

    Raises
    ------
    RegistryError
        When no version has this alias, or it cannot be loaded safely.
    """
    uri = ensure_store(root)
    name = registered_name(wing)
    mlflow_client = client(uri)
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        found = mlflow_client.get_model_version_by_alias(name, alias)
    except MlflowException:
        raise RegistryError(f"MLflow has no models:/{name}@{alias}: restore it from the registry, or promote") from None
    try:
        with _global_store(uri), _pickle_refused():
            return mlflow.pyfunc.load_model(mlflow_client.get_model_version_download_uri(name, found.version))
    except MlflowException as error:
        raise RegistryError(f"models:/{name}@{alias} cannot be loaded: {_flat(error)}") from error


def find_version(client: "MlflowClient", name: str, digest: str) -> str | None:
    """The newest version of `name` whose content has this hash and whose files are still there."""
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    found = client.search_model_versions(f"name = '{name}' and tags.{HASH_TAG} = '{digest}'")
    for version in sorted(found, key=lambda v: int(v.version), reverse=True):
        location = client.get_model_version_download_uri(name, version.version)
        try:
            files = list_artifacts(artifact_uri=location, tracking_uri=client.tracking_uri)
        except (MlflowException, OSError):
            continue
        if any(PurePosixPath(file.path).name == "MLmodel" for file in files):
            return str(version.version)
    return None


def registered_name(wing: str) -> str:
    """The name of a wing's registered model."""
    return f"varistar-{wing}"


def model_card(content: ModelContent, digest: str) -> str:
    """A model card from the specification, in Markdown."""
    spec = content.spec
    metrics = "\n".join(
        f"| {n} | {'undefined' if v is None else f'{v:.6g}'} |" for n, v in sorted(spec.metrics.items())
    )
    data = "\n".join(f"- `{path}`: `{value}`" for path, value in sorted(spec.training_data.items()))
    numbers = sum(np.size(tensor) for tensor in content.tensors.values())
    return f"""# varistar {spec.wing}: {spec.architecture.name}

Content `{digest}`, {numbers} numbers in {len(content.tensors)} tensors. `predict` takes preprocessed input and gives
calibrated values. The preprocessing belongs to the model: `varistar predict` applies it, and input prepared otherwise
gives values that mean nothing.

## Metrics on the frozen test set

| metric | value |
|---|---|
{metrics}

## Trained on

{data}

## Architecture

{_json_block(spec.architecture.settings)}

## Preprocessing

{_json_block(spec.preprocessing)}

## Calibration

{_json_block(spec.calibration)}
"""


def _signature(network: "torch.nn.Module", example: NDArray[Any]) -> "ModelSignature":
    """Any batch of such inputs, of any length along the free axes, gives a batch of float32 outputs.

    The tensors have no names: with one, MLflow would expect dictionaries, which its PyTorch flavour does not take.
    """
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    if example.ndim < 2 or example.shape[0] < 2:
        raise RegistryError(f"the example input needs a batch of at least two, got shape {example.shape}")
    shorter = _resized(example, {axis: example.shape[axis] - 1 for axis in _free_axes(network)})
    with torch.no_grad():
        output, other = network(torch.from_numpy(example)), network(torch.from_numpy(shorter))
    if not isinstance(output, torch.Tensor) or output.dtype != torch.float32 or output.shape[:1] != example.shape[:1]:
        raise RegistryError("the network must give one float32 tensor with a row per input to be packaged")
    given, changed = (
        (-1 if size != less else size for size, less in zip(one.shape, two.shape, strict=True))
        for one, two in ((example, shorter), (output, other))
    )
    return ModelSignature(
        inputs=Schema([TensorSpec(example.dtype, tuple(given))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), tuple(changed))]),
    )


def _free_axes(network: "torch.nn.Module") -> tuple[int, ...]:
    """The axes of its input along which the network takes any length; the batch is one always."""
    return tuple(getattr(network, "free_axes", (0,)))


def _resized(example: NDArray[Any], lengths: dict[int, int]) -> NDArray[Any]:
    """The example cut, or repeated, to these lengths by axis."""
    for axis, length in lengths.items():
        example = np.take(example, np.arange(length), axis, mode="wrap")
    return np.ascontiguousarray(example)


def _export(
    files: Path,
    model: "LoggedModel",
    network: "torch.nn.Module",
    example: NDArray[Any],
    signature: "ModelSignature",
    extra: list[Path],
) -> None:
    """Write the package as MLflow's model folder."""
    import mlflow.pytorch
    from mlflow.models import Model

    described = Model(
        artifact_path=model.artifact_location,
        run_id=model.source_run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
        metadata={HASH_TAG: model.tags[HASH_TAG]},
    )
    try:
        mlflow.pytorch.save_model(
            network,
            files,
            mlflow_model=described,
            signature=signature,
            input_example=example,
            # Given, since to infer them costs seconds; without the local part (+cpu), which no index has.
            pip_requirements=[f"{name}=={metadata.version(name).split('+')[0]}" for name in REQUIREMENTS],
            extra_files=[str(path) for path in extra],
            serialization_format="pt2",
        )
    except Exception as error:  # torch.export raises what the traced code raises
        raise RegistryError(f"the network cannot be exported: {_flat(error)}") from error


def _compare(files: Path, network: "torch.nn.Module", example: NDArray[Any]) -> None:
    """Load the package as a user would and compare it with the network, at sizes the export has not seen."""
    import mlflow.pyfunc
    import torch

    with _pickle_refused():
        loaded = mlflow.pyfunc.load_model(str(files))
    for rows, factor in ((1, 0.37), (len(example), 1.0), (2 * len(example) + 1, 1.7)):
        lengths = {axis: max(round(factor * example.shape[axis]), 1) for axis in _free_axes(network)} | {0: rows}
        batch = _resized(example, lengths)
        shown = f"a batch of {' x '.join(map(str, batch.shape))}"
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        try:
            answer = loaded.predict(batch)
        except Exception as error:
            raise RegistryError(f"the exported network refuses {shown}: {_flat(error)}") from error
        if not np.allclose(answer, expected, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE, equal_nan=True):
            raise RegistryError(f"the exported network answers otherwise than the network itself to {shown}")


def _new_version(client: "MlflowClient", name: str, model_id: str, run_id: str | None, digest: str, card: str) -> str:
    """Register the package; the version refers to the logged model by its id, which survives a move of the folder."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    version = client.create_model_version(name, source, run_id, tags={HASH_TAG: digest}, description=card)
    return str(version.version)


@contextmanager
def _global_store(uri: str) -> Iterator[None]:
    """Let MLflow's global tracking URI be `uri` for a while: parts of its registry look nowhere else."""
    import mlflow

    variable = os.environ.get("MLFLOW_TRACKING_URI")
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None unsets it
        _restore("MLFLOW_TRACKING_URI", variable)


@contextmanager
def _pickle_refused() -> Iterator[None]:
    """Let MLflow refuse to load anything that could run code."""
    variable = os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION")
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    try:
        yield
    finally:
        _restore("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", variable)


def _restore(variable: str, value: str | None) -> None:
    """Give an environment variable its former value."""
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _json_block(values: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(values, indent=2, sort_keys=True)}\n```"


def _flat(error: Exception) -> str:
    """The beginning of what another library complains of, on one line."""
    return " ".join(str(error).split())[:400]
