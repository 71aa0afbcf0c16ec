"""The header of a model file: what it says about the model, and what tells that the file is one, and whole."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError, nearest

__all__ = ["CHECKSUM", "ENTRY", "FORMAT", "Entry", "check_start", "digest", "read_entry"]

FORMAT = 1
ENTRY = "panet"
CHECKSUM = "sha256"
_HEADER_LIMIT = 16 << 20  # bytes; 10,000 classes and 5,000 tensors need 2 MB

# What people give by mistake, told by its first bytes -> what to do instead.
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a PyTorch file, not safetensors: convert it with `panet import`"),
    (b"\x80", "a Python pickle, not safetensors: convert it with `panet import`"),
    (b"<", "an HTML page, not a model: the download went wrong, fetch the file itself"),
    (b"version https://git-lfs", "a Git LFS pointer, not the model: run `git lfs pull`"),
    (b"{", "JSON text, not a model: give the .safetensors file"),
)


class Entry(BaseModel):
    """What the header says about the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int
    config: ModelConfig
    category_ids: tuple[int, ...]
    names: tuple[Annotated[str, Field(min_length=1)], ...]
    notes: dict[str, str]


def check_start(path: Path) -> None:
    """Refuse by its first bytes what is not safetensors, before a reader sees it.

    Raises:
        CheckpointError: says what the file is instead, as far as that can be told.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise CheckpointError(f"{path}: empty: copy or download it again")
    if start[8:9] != b"{":  # after 8 bytes of length a header begins with its brace
        text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
        what = next((what for magic, what in _OTHER_FORMATS if text.startswith(magic)), None)
        raise CheckpointError(f"{path}: {what or 'not a safetensors file: give a model that panet wrote'}")
    length = int.from_bytes(start[:8], "little")
    if length > _HEADER_LIMIT:
        raise CheckpointError(f"{path}: damaged: a header of {length:,} bytes; at most {_HEADER_LIMIT:,} are allowed")


def read_entry(path: Path, header: Mapping[str, str]) -> Entry:
    """Give what a header says about the model.

    Raises:
        CheckpointError: it says nothing, or something that this version does not understand.
    """
    if ENTRY not in header:
        raise CheckpointError(
            f"{path}: weights without a panet header: their settings are unknown; convert it with `panet import`"
        )
    text = header[ENTRY]
    try:
        version = json.loads(text)["format"]
        if isinstance(version, int) and version > FORMAT:
            raise CheckpointError(
                f"{path}: format {version} is newer than this program's {FORMAT}: update panet to read it"
            )
        entry = Entry.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {_first_problem(error)}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: the panet header is damaged: copy or download the file again") from error
    counts = {entry.config.num_classes, len(entry.names), len(entry.category_ids), len(set(entry.category_ids))}
    if len(counts) != 1:
        raise CheckpointError(
            f"{path}: header: model.num_classes is {entry.config.num_classes}, but there are "
            f"{len(entry.names)} names and {len(set(entry.category_ids))} category ids: the file is damaged"
        )
    return entry


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    *parents, key = (str(part) for part in first["loc"])
    place = ".".join([*parents, key])
    if first["type"] == "extra_forbidden":
        known: Any = ModelConfig().model_dump() if parents else Entry.model_fields
        for parent in parents[1:]:
            known = known[parent]
        return f"header: {place}: unknown key{nearest(key, known)}: another version of panet wrote the file"
    return f"header: {place}: {first['msg']}: another version of panet wrote the file, or it is damaged"


def digest(entry: str, state: Mapping[str, Tensor]) -> str:
    """Give the SHA-256 of the header's entry and every tensor: neither safetensors nor torch notices a flipped bit."""
    checksum = hashlib.sha256(entry.encode())
    for name in sorted(state):
        tensor = state[name]
        checksum.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()
