"""Apply a table of names to a foreign state dict; nothing is dropped or left out in silence."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from panet.errors import CheckpointError

__all__ = ["Converted", "convert"]


class Converted(NamedTuple):
    """A state dict under our names, and what did not fit.

    Attributes:
        state: our name -> tensor.
        unused: foreign names that no row maps to a tensor of the model.
        missing: the model's names that nothing gave.
    """

    state: dict[str, Tensor]
    unused: list[str]
    missing: list[str]


def convert(foreign: Mapping[str, Tensor], table: Mapping[str, str], model: nn.Module) -> Converted:
    """Rename foreign tensors for a model.

    A frozen affine layer without running statistics (the 2018 backbone) gets those under which our batch norm
    computes the same w * x + b: mean 0 and variance 1 - eps.

    Raises:
        CheckpointError: a tensor has another shape than the model's.
    """
    wanted = model.state_dict()
    state, unused = {}, []
    for key, tensor in foreign.items():
        layer, _, leaf = key.rpartition(".")
        ours = f"{table[layer]}.{leaf}" if layer in table else None
        if ours is None or ours not in wanted:
            unused.append(key)
            continue
        if tensor.shape != wanted[ours].shape:
            raise CheckpointError(
                f"{key}: shape {tuple(tensor.shape)} does not fit {ours}, which is {tuple(wanted[ours].shape)}"
            )
        state[ours] = tensor
    _add_neutral_statistics(state, model)
    return Converted(state, unused, [key for key in wanted if key not in state])


def _add_neutral_statistics(state: dict[str, Tensor], model: nn.Module) -> None:
    for name, layer in model.named_modules():
        if not isinstance(layer, _BatchNorm) or f"{name}.weight" not in state:
            continue
        weight = state[f"{name}.weight"]
        state.setdefault(f"{name}.num_batches_tracked", torch.tensor(0))
        if f"{name}.running_mean" not in state:
            state[f"{name}.running_mean"] = torch.zeros_like(weight)
            state[f"{name}.running_var"] = torch.full_like(weight, 1 - layer.eps)
