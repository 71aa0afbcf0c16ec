"""Apply a table of names to a foreign state dict; nothing is dropped or left out in silence."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from panet.errors import CheckpointError

__all__ = ["Converted", "Renamed", "convert", "fit", "rename"]


class Renamed(NamedTuple):
    """A state dict under our names.

    Attributes:
        state: our name -> tensor.
        origin: our name -> foreign name.
        unused: foreign names that no row maps.
    """

    state: dict[str, Tensor]
    origin: dict[str, str]
    unused: list[str]


class Converted(NamedTuple):
    """A state dict that fits a model, and what did not fit.

    Attributes:
        state: our name -> tensor.
        unused: foreign names that no row maps to a tensor of the model.
        missing: the model's names that nothing gave.
    """

    state: dict[str, Tensor]
    unused: list[str]
    missing: list[str]


def rename(foreign: Mapping[str, Tensor], table: Mapping[str, str]) -> Renamed:
    """Give our names to foreign tensors.

    Raises:
        CheckpointError: two tensors would get one name.
    """
    state: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unused: list[str] = []
    for key, tensor in foreign.items():
        layer, _, leaf = key.rpartition(".")
        if layer not in table:
            unused.append(key)
            continue
        ours = f"{table[layer]}.{leaf}"
        if ours in origin:
            raise CheckpointError(f"{key}: the same tensor as {origin[ours]}: old and new names in one file")
        state[ours], origin[ours] = tensor, key
    return Renamed(state, origin, unused)


def fit(renamed: Renamed, model: nn.Module, *, partial: bool = False) -> Converted:
    """Keep what a model has, and tell what is left over and what lacks.

    Where the file has no running statistics at all (the frozen affine layers of 2018), our batch norms get those
    under which they compute the same w * x + b: mean 0 and variance 1 - eps.

    Args:
        renamed: what `rename` gave.
        model: what the tensors are for.
        partial: take a tensor of another shape than the model's as unused.

    Raises:
        CheckpointError: a tensor has another shape than the model's.
    """
    wanted = model.state_dict()
    state, unused = {}, list(renamed.unused)
    for ours, tensor in renamed.state.items():
        key = renamed.origin.get(ours, ours)
        if ours not in wanted:
            unused.append(key)
        elif tensor.shape != wanted[ours].shape:
            if not partial:
                raise CheckpointError(
                    f"{key}: shape {tuple(tensor.shape)} does not fit {ours}, which is {tuple(wanted[ours].shape)}"
                )
            unused.append(key)
        else:
            state[ours] = tensor
    _add_counts(state, model)
    if not any(ours.endswith(("running_mean", "running_var")) for ours in renamed.state):
        _add_neutral_statistics(state, model)
    return Converted(state, unused, [key for key in wanted if key not in state])


def convert(foreign: Mapping[str, Tensor], table: Mapping[str, str], model: nn.Module) -> Converted:
    """Rename foreign tensors for a model: `rename`, then `fit`.

    Raises:
        CheckpointError: a tensor has another shape than the model's.
    """
    return fit(rename(foreign, table), model)


def _norms(state: Mapping[str, Tensor], model: nn.Module) -> list[tuple[str, _BatchNorm]]:
    modules = model.named_modules()
    return [(name, each) for name, each in modules if isinstance(each, _BatchNorm) and f"{name}.weight" in state]


def _add_counts(state: dict[str, Tensor], model: nn.Module) -> None:
    """Frozen batch norms have no count of batches; ours have one, which eval mode never reads."""
    for name, _ in _norms(state, model):
        state.setdefault(f"{name}.num_batches_tracked", torch.tensor(0))


def _add_neutral_statistics(state: dict[str, Tensor], model: nn.Module) -> None:
    for name, layer in _norms(state, model):
        weight = state[f"{name}.weight"]
        state[f"{name}.running_mean"] = torch.zeros_like(weight)
        state[f"{name}.running_var"] = torch.full_like(weight, 1 - layer.eps)
