"""All that a training step changes: weights, momentum, averages."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from panet.errors import CheckpointError, DivergedError
from panet.train.optimizer import set_rate

__all__ = ["Learner", "average_weights"]

# Its square, which AdamW keeps, is far from the largest float of 32 bits, 3.4e38, and so are weights after the step:
# a run that diverges ends with weights that can still be kept.
_LARGEST_NORM = 1e18


class Learner:
    """A model, how it learns, and the moving average of its weights.

    Args:
        model: what is trained.
        optimizer: over the model's parameters; its rates are those of factor 1.
        schedule: step -> factor on the rates.
        average: the moving average of the model, or None.
        max_grad_norm: gradients of a larger norm are scaled down to it; None: never.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Callable[[int], float],
        average: AveragedModel | None = None,
        max_grad_norm: float | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.average = average
        self.max_grad_norm = max_grad_norm
        self._trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    @property
    def judged(self) -> nn.Module:
        """The model to evaluate and to ship: the averaged one, if there is one."""
        return self.model if self.average is None else self.average.module

    def update(self, step: int) -> tuple[float, float]:
        """Take step 1, 2, ... along the gradients; give the learning rate and the norm of the gradients.

        Raises:
            DivergedError: the gradients or the running statistics are not finite, or the gradients of a size that soon
                ends in it; no weight has changed.
        """
        buffers = [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]
        if not all(bool(torch.isfinite(buffer).all()) for buffer in buffers):
            raise DivergedError("running statistics of a batch norm are not finite")
        rate = self.set_rate(step)
        norm = self.gradient_norm()
        self.check_norm(norm)
        if self.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self._trained, self.max_grad_norm, torch.tensor(norm))
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return rate, norm

    def set_rate(self, step: int) -> float:
        """Set the rates of step 1, 2, ...; give that of the weights."""
        return set_rate(self.optimizer, self.schedule(step))

    def gradient_norm(self) -> float:
        """Give the norm of all gradients together, before clipping."""
        return float(nn.utils.get_total_norm([each.grad for each in self._trained if each.grad is not None]))

    def largest_gradient(self) -> tuple[str, Tensor]:
        """Give the name and the gradient of the weight whose gradient has the largest element."""
        named = zip(self._names(), self._trained, strict=True)
        gradients = [(name, weight.grad) for name, weight in named if weight.grad is not None]
        return max(gradients, key=lambda pair: float(pair[1].abs().max()))

    def check_norm(self, norm: float) -> None:
        """Refuse to step along gradients of a norm that is not finite, or of which weights would soon not be.

        Raises:
            DivergedError: it is so.
        """
        if not math.isfinite(norm) or min(norm, self.max_grad_norm or math.inf) > _LARGEST_NORM:
            raise DivergedError(f"the norm of the gradients is {norm:.4g}")

    def tensors(self) -> dict[str, Tensor]:
        """Give all of it as named tensors: "model.x", "average.x", "optimizer.x.momentum_buffer"."""
        named = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            named |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        states = self.optimizer.state_dict()["state"]
        for index, name in enumerate(self._names()):
            named |= {
                f"optimizer.{name}.{key}": tensor for key, tensor in states.get(index, {}).items() if tensor is not None
            }
        return named

    def load_tensors(self, named: Mapping[str, Tensor]) -> None:
        """Set all of it; load_tensors(tensors()) changes nothing.

        Raises:
            CheckpointError: the tensors are of another model or optimizer.
        """
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for name, tensor in named.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        try:
            self.model.load_state_dict(parts["model"])
            if self.average is not None:
                self.average.load_state_dict(parts["average"])
        except RuntimeError as error:
            raise CheckpointError(f"its weights do not fit the model: {str(error).splitlines()[-1].strip()}") from error
        self._load_optimizer(parts["optimizer"])

    def _load_optimizer(self, named: Mapping[str, Tensor]) -> None:
        index = {name: i for i, name in enumerate(self._names())}
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in named.items():
            parameter, _, key = name.rpartition(".")
            if parameter not in index:
                raise CheckpointError(f"it has optimizer state for {parameter!r}, which does not train here")
            states.setdefault(index[parameter], {})[key] = _laid_as(self._trained[index[parameter]], tensor)
        groups: list[dict[str, Any]] = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})

    def _names(self) -> list[str]:
        """Name what is trained, in the optimizer's order."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return [names[id(parameter)] for parameter in self._trained]


def _laid_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Copy a tensor, in the memory layout of a parameter of its shape: a step over both is then one pass."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor.clone()


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """Build the exponential moving average of a model's parameters; buffers are copied.

    After n updates the decay is min(decay, (1 + n) / (10 + n)): else a short run would ship its random start.
    """

    def average(averaged: Any, current: Any, num_updates: Tensor | int) -> None:
        n = int(num_updates)
        blend = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
        blend(averaged, current, n)

    return AveragedModel(model, multi_avg_fn=average)
