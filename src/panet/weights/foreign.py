"""Read the weight files of others: PyTorch's, Detectron2's pickles, safetensors. Nothing in them is run."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import Tensor

from panet.errors import CheckpointError
from panet.weights.header import ENTRY, check_start
from panet.weights.unpickle import read_arrays

__all__ = ["Foreign", "is_ours", "read_foreign"]

_ENVELOPES = ("model", "state_dict")
_INFLATION_LIMIT = 4 << 30  # bytes; the largest checkpoint with its optimizer is 2 GB
_LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # torch.save before 1.6


@dataclass(frozen=True)
class Foreign:
    """A foreign file's content.

    Args:
        state: name -> tensor, as the file has them; "module." of DataParallel is taken off.
        settings: the text of the training's settings where the file has it (mmdetection), else empty.
    """

    state: dict[str, Tensor]
    settings: str


def is_ours(path: Path) -> bool:
    """Tell whether a file is a safetensors file with panet's header."""
    try:
        check_start(path)
        with safetensors.safe_open(path, framework="pt") as file:
            return ENTRY in (file.metadata() or {})
    except (CheckpointError, OSError, safetensors.SafetensorError):
        return False


def read_foreign(path: Path) -> Foreign:
    """Read a state dict: of a zip or older file of torch.save, a pickle of arrays, or safetensors.

    Raises:
        CheckpointError: it is missing, cut, damaged, would inflate, holds code, or holds no state dict.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file: give the checkpoint that is to be imported")
    try:
        document = _read(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not isinstance(document, Mapping):
        raise CheckpointError(f"{path}: holds a {type(document).__name__}, not a state dict: save model.state_dict()")
    inner = next((document[key] for key in _ENVELOPES if isinstance(document.get(key), Mapping)), document)
    state = {_plain_name(key): _tensor(path, key, value) for key, value in inner.items()}
    if not state:
        raise CheckpointError(f"{path}: holds no tensors: save model.state_dict()")
    return Foreign(state, _settings(document))


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        _check_inflation(path)
        return _load_torch(path)
    if start.startswith(b"\x80") and start[8:9] != b"{":  # the length of a safetensors header may begin so
        return _load_torch(path) if _LEGACY_MAGIC in start else read_arrays(path.read_bytes(), str(path))
    check_start(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: damaged or incomplete: {error}: copy or download it again") from error


def _check_inflation(path: Path) -> None:
    """Torch stores without compression; a directory that promises more than the file holds is an attack."""
    try:
        with zipfile.ZipFile(path) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: damaged or cut: its zip directory is missing: download it again") from error
    size = path.stat().st_size
    if inflated > min(2 * size + (1 << 20), _INFLATION_LIMIT):
        raise CheckpointError(
            f"{path}: {size:,} bytes that would become {inflated:,}: a checkpoint is not compressed: it is refused"
        )


def _load_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file raises many types; all of them mean: not to be used
        text = str(error)
        if found := re.search(r"GLOBAL (\S+)", text):
            raise CheckpointError(
                f"{path}: not read: it holds more than weights ({found[1]}): save its state dict alone, "
                "where you trust it"
            ) from error
        lines = text.splitlines() or [type(error).__name__]
        raise CheckpointError(f"{path}: damaged or cut: {lines[0]}: copy or download it again") from error


def _plain_name(key: object) -> str:
    return str(key).removeprefix("module.")


def _tensor(path: Path, key: object, value: object) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        # A copy in native byte order: what comes from a pickle's bytes may be read-only.
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("=")).copy())
    if isinstance(key, str) and isinstance(value, Tensor) and value.layout == torch.strided:
        return value.detach()
    raise CheckpointError(f"{path}: {key}: a {type(value).__name__}, not a tensor: save model.state_dict() alone")


def _settings(document: Mapping[Any, Any]) -> str:
    meta = document.get("meta")
    texts = [meta.get(key) for key in ("config", "cfg")] if isinstance(meta, Mapping) else []
    return next((text for text in texts if isinstance(text, str)), "")
