"""Parameter groups by the released PANet's rules."""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

__all__ = ["build_optimizer", "parameter_groups", "set_rate"]


def parameter_groups(
    model: nn.Module, rate: float, weight_decay: float, bias_rate_factor: float
) -> list[dict[str, Any]]:
    """Sort what trains into weights, biases and scales: each parameter into exactly one; empty groups are left out.

    As the released code does: a name with "bias" in it, a norm's too, learns at `rate * bias_rate_factor` without
    decay; a scale (a norm's weight: one value a channel) at `rate` without decay; the rest at `rate` with decay.

    Args:
        model: parameters that do not require a gradient are left out.
        rate: learning rate.
        weight_decay: of the weights.
        bias_rate_factor: of the biases.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    biases = [parameter for name, parameter in trained if "bias" in name]
    scales = [parameter for name, parameter in trained if "bias" not in name and parameter.ndim <= 1]
    weights = [parameter for name, parameter in trained if "bias" not in name and parameter.ndim > 1]
    groups = [
        {"name": "weights", "params": weights, "lr": rate, "weight_decay": weight_decay},
        {"name": "biases", "params": biases, "lr": rate * bias_rate_factor, "weight_decay": 0.0},
        {"name": "scales", "params": scales, "lr": rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    groups: Iterable[dict[str, Any]], kind: Literal["sgd", "adamw"], momentum: float
) -> torch.optim.Optimizer:
    """Build SGD with momentum, or AdamW with `momentum` as its first beta; a step is one pass over memory."""
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, fused=True)
    return torch.optim.AdamW(groups, betas=(momentum, 0.999), fused=True)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group's rate to its first one times `factor`; give that of the weights."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
    return float(optimizer.param_groups[0]["lr"])
