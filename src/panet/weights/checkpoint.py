"""Model files: safetensors with all that is needed to use the weights, and a checksum, in the header."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError, ConfigError, nearest
from panet.model.build import build_model
from panet.model.panet import PANet
from panet.structures import LabelMap
from panet.weights.files import write_whole
from panet.weights.header import CHECKSUM, ENTRY, FORMAT, Entry, check_start, digest, read_entry

__all__ = ["BUNDLED", "ModelFile", "check_fit", "load_model", "model_path", "restore", "save_model", "save_weights"]

BUNDLED = {"bundled": "nuclei_lite.safetensors", "nuclei": "nuclei_lite.safetensors"}
"""Name -> file of a model that is part of the package."""


@dataclass(frozen=True)
class ModelFile:
    """A model file's content.

    Args:
        config: the settings the model was built with.
        label_map: labels 1..K <-> category ids and names; K is `config.num_classes`.
        state: parameter name -> tensor; floats are float32, however they were stored.
        notes: free text: how the model was made.
    """

    config: ModelConfig
    label_map: LabelMap
    state: dict[str, Tensor]
    notes: dict[str, str]


def model_path(name: str | Path) -> Path:
    """Give the file of a path, or of a name in BUNDLED (the name goes first).

    Raises:
        CheckpointError: there is no such file, or it is a folder.
    """
    file_name = BUNDLED.get(str(name))
    path = Path(str(files("panet").joinpath("bundled", file_name))) if file_name else Path(name)
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder: expected a model file; of a run, give weights/best.safetensors in it")
    if not path.is_file():
        hint = "this installation came without its model" if file_name else f"{_suggestion(path)}"
        raise CheckpointError(f"{path}: no such model file: {hint}")
    return path


def _suggestion(path: Path) -> str:
    try:
        siblings = [entry.name for entry in path.parent.iterdir() if entry.suffix == ".safetensors"]
    except OSError:
        siblings = []
    return f"give a .safetensors file or 'bundled'{nearest(path.name, siblings) or nearest(str(path), BUNDLED)}"


def save_model(
    path: str | Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    label_map: LabelMap,
    half: bool = False,
    notes: Mapping[str, str] | None = None,
) -> str:
    """Write a model file, so that at any moment `path` holds a whole file: the old one or the new one.

    load_model(save_model(x)) == x, bit for bit unless `half`.

    Args:
        path: the file; its folder must exist.
        state: parameter name -> tensor.
        config: the settings the model was built with.
        label_map: its classes.
        half: store floats as float16; integers stay.
        notes: free text: how the model was made.

    Returns: the file's sha256, in hex.
    Raises:
        CheckpointError: a weight is not finite (or not in float16), or the file cannot be written.
    """
    path = Path(path)
    stored = {name: _stored(tensor, half) for name, tensor in state.items()}
    _check_finite(path, stored, "in float16; save it in full precision" if half else "; the training diverged")
    entry = Entry(
        format=FORMAT,
        config=config,
        category_ids=label_map.category_ids,
        names=label_map.names,
        notes=dict(notes or {}),
    ).model_dump_json()
    header = {ENTRY: entry, CHECKSUM: digest(entry, stored)}
    return write_whole(path, safetensors.torch.save(stored, header))


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a bare state dict, for other programs: safetensors, or torch.save's format for any other ending.

    Raises:
        CheckpointError: the file cannot be written.
    """
    stored = {name: _stored(tensor, half=False) for name, tensor in state.items()}
    if path.suffix == ".safetensors":
        write_whole(path, safetensors.torch.save(stored))
    else:
        content = io.BytesIO()
        torch.save(stored, content)
        write_whole(path, content.getvalue())


def _stored(tensor: Tensor, half: bool) -> Tensor:
    dtype = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()


def load_model(path: str | Path) -> ModelFile:
    """Read a model file, or the bundled model by its name; nothing in it is run.

    Raises:
        CheckpointError: it is missing, of another kind, damaged, or has weights that are not finite.
    """
    path = model_path(path)
    try:
        check_start(path)
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # A copy: what is mapped from the file would change with it.
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or incomplete: {error}: copy or download it again") from error
    entry = read_entry(path, header)
    if header.get(CHECKSUM) != digest(header[ENTRY], state):
        raise CheckpointError(f"{path}: damaged: the checksum does not fit the content: copy or download it again")
    state = {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in state.items()}
    _check_finite(path, state, "; the file is of no use, take another")
    return ModelFile(entry.config, LabelMap(entry.category_ids, entry.names), state, entry.notes)


def _check_finite(path: Path, state: Mapping[str, Tensor], what: str) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: weight {name}: NaN or infinite{what if what[0] == ';' else ' ' + what}")


def restore(path: str | Path) -> tuple[PANet, ModelFile]:
    """Build the model of a file, in eval mode, on the CPU.

    Raises:
        CheckpointError: as `load_model`; or the weights do not fit the settings.
    """
    model_file = load_model(path)
    try:
        model = build_model(model_file.config, load_backbone=False)
    except ConfigError as error:
        raise CheckpointError(f"{path}: header: {error}") from error
    check_fit(path, model_file.state, model.state_dict())
    model.load_state_dict(model_file.state)
    return model.eval(), model_file


def check_fit(path: str | Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse a state that is not exactly of a model's names and shapes; CheckpointError lists the first of each."""
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    misshapen = [
        f"{name} {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unexpected", extra), ("misshapen", misshapen))
        if names
    ]
    if problems:
        raise CheckpointError(f"{path}: weights do not fit the model: {'; '.join(problems)}: take another file")
