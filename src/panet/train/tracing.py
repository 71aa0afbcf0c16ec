"""Which tensor of a step is the first that is not finite: the step once more, with an eye on every tensor."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from panet.errors import DivergedError, PeerError
from panet.structures import Batch
from panet.train.learner import Learner

__all__ = ["Finding", "Kind", "Trace", "trace"]

Kind = Literal["weight", "input", "output", "statistics", "loss", "output gradient", "weight gradient", "gradient norm"]

_SENTENCES: dict[Kind, str] = {
    "weight": "weight {name}, before the step",
    "input": "{name} of the pictures",
    "output": "output of {name} (forward)",
    "statistics": "running statistics {name} (forward)",
    "loss": "loss {name} (forward)",
    "output gradient": "gradient that comes back to the output of {name} (backward)",
    "weight gradient": "gradient of weight {name} (backward)",
    "gradient norm": "norm of all gradients, each of them finite; the largest is of weight {name} (backward)",
}


class Finding(BaseModel):
    """The first tensor of a step that is not finite, in the order in which they are computed.

    Args:
        kind: what it is.
        name: of the module, weight or loss; as in the model's state dict.
        shape: of the tensor.
        num_nan, num_infinite: of its elements.
        after: the tensor looked at before it, which was finite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Kind
    name: str
    shape: tuple[int, ...]
    num_nan: int
    num_infinite: int
    after: str | None

    def __str__(self) -> str:
        return _SENTENCES[self.kind].format(name=self.name)


@dataclass(frozen=True)
class Trace:
    """What an attempt at a step gave.

    Args:
        first: the first tensor that is not finite; None: all are.
        losses: of each batch that was run.
        gradient_norm: before clipping; None: it did not come to that.
    """

    first: Finding | None
    losses: tuple[dict[str, float], ...]
    gradient_norm: float | None


def trace(objective: nn.Module, learner: Learner, attempt: Callable[[], object]) -> Trace:
    """Make an attempt at a step with hooks on every module and weight; only gradients and statistics are changed.

    Args:
        objective: (Batch, torch.Generator) -> named scalar losses.
        learner: of its model.
        attempt: sets the step's gradients, as it did before.
    """
    eye = _Eye(objective.module if isinstance(objective, DistributedDataParallel) else objective)
    norm = None
    with eye:
        try:
            attempt()
            norm = learner.gradient_norm()
            learner.check_norm(norm)
            eye.look_at_statistics()
        except (DivergedError, PeerError):
            if eye.first is None and (norm is not None or _has_overflown(eye.losses)):  # a sum of what is finite
                kind, name, shape = _overflow(learner, norm)
                eye.first = Finding(kind=kind, name=name, shape=shape, num_nan=0, num_infinite=0, after=eye.last)
    return Trace(eye.first, tuple(eye.losses), norm)


def _has_overflown(losses: Sequence[Mapping[str, float]]) -> bool:
    return any(sum(each.values()) > torch.finfo(torch.float32).max for each in losses)


def _overflow(learner: Learner, norm: float | None) -> tuple[Kind, str, tuple[int, ...]]:
    if norm is None:
        return "loss", "total", ()
    name, gradient = learner.largest_gradient()
    return "gradient norm", name, tuple(gradient.shape)


class _Eye:
    """Looks at every tensor of an attempt while entered."""

    def __init__(self, objective: nn.Module) -> None:
        self.first: Finding | None = None
        self.last: str | None = None
        self.losses: list[dict[str, float]] = []
        self._objective = objective
        self._handles: list[Any] = []

    def __enter__(self) -> "_Eye":
        for name, tensor in [*self._objective.named_parameters(), *self._objective.named_buffers()]:
            self._look("weight", _short(name), tensor)
        self._handles = [self._objective.register_forward_pre_hook(self._look_at_input)]
        for name, module in self._objective.named_modules():
            if module is not self._objective:
                self._handles.append(module.register_forward_hook(partial(self._look_at_output, _short(name))))
        self._handles.append(self._objective.register_forward_hook(self._look_at_losses))
        for name, weight in self._objective.named_parameters():
            if weight.requires_grad:
                self._handles.append(weight.register_hook(partial(self._look, "weight gradient", _short(name))))  # type: ignore[no-untyped-call]  # torch has no types
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def look_at_statistics(self) -> None:
        """Look at what a module may have set after its own output."""
        for name, buffer in self._objective.named_buffers():
            self._look("statistics", _short(name), buffer)

    def _look(self, kind: Kind, name: str, tensor: Tensor) -> None:
        """Remember a tensor if it is the first that is not finite."""
        if self.first is not None or not tensor.is_floating_point():
            return
        tensor = tensor.detach()
        if bool(torch.isfinite(tensor).all()):
            self.last = _SENTENCES[kind].format(name=name)
            return
        self.first = Finding(
            kind=kind,
            name=name,
            shape=tuple(tensor.shape),
            num_nan=int(tensor.isnan().sum()),
            num_infinite=int(tensor.isinf().sum()),
            after=self.last,
        )

    def _look_at_input(self, _objective: nn.Module, inputs: tuple[Any, ...]) -> None:
        for batch in inputs:
            if isinstance(batch, Batch):
                self._look("input", "pixels", batch.images.tensor)
                for target in batch.targets:
                    self._look("input", "boxes", target.boxes)

    def _look_at_output(self, name: str, module: nn.Module, _inputs: object, output: object) -> None:
        for own, buffer in module.named_buffers(recurse=False):
            self._look("statistics", f"{name}.{own}", buffer)
        for tensor in _tensors(output):
            self._look("output", name, tensor)
            if tensor.requires_grad:
                # Not a backward hook of the module: that would forbid what is computed in place after it.
                tensor.register_hook(partial(self._look, "output gradient", name))  # type: ignore[no-untyped-call]  # torch has no types

    def _look_at_losses(self, _objective: nn.Module, _inputs: object, losses: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            self._look("loss", name, loss)
        self.losses.append({name: float(loss.detach()) for name, loss in losses.items()})


def _short(name: str) -> str:
    return name.removeprefix("model.")


def _tensors(output: object) -> Iterator[Tensor]:
    """Give every tensor of a module's output, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for value in output:
            yield from _tensors(value)
    elif is_dataclass(output):
        for field in fields(output):
            yield from _tensors(getattr(output, field.name))
