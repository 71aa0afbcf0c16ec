"""TrainConfig -> what the loop needs."""

import torch
from torch import nn

from panet.config import TrainConfig
from panet.errors import ConfigError
from panet.train.learner import Learner, average_weights
from panet.train.loop import Plan
from panet.train.optimizer import build_optimizer, parameter_groups
from panet.train.schedule import Schedule

__all__ = ["base_rate", "build_learner", "build_plan"]

_REFERENCE_BATCH = 16  # pictures, of the released recipes


def base_rate(config: TrainConfig, batch_size: int, num_ranks: int = 1) -> float:
    """Give the learning rate after warm-up, for batches of `batch_size` pictures in each of so many processes."""
    if not config.scale_learning_rate:
        return config.learning_rate
    return config.learning_rate * batch_size * config.accumulate * num_ranks / _REFERENCE_BATCH


def build_plan(config: TrainConfig, device: torch.device, batches_per_epoch: int, num_ranks: int = 1) -> Plan:
    """Turn epochs into steps: `config.accumulate` batches each of every process, at least one step."""
    steps_per_epoch = batches_per_epoch / (config.accumulate * num_ranks)
    return Plan(
        device=device,
        num_steps=config.steps or max(1, round(config.epochs * steps_per_epoch)),
        steps_per_check=max(1, round(config.evaluate_every * steps_per_epoch)),
        seed=config.seed,
        accumulate=config.accumulate,
        mixed_precision=config.precision == "bf16",
        patience=config.patience,
    )


def build_learner(
    model: nn.Module, config: TrainConfig, batch_size: int, num_steps: int, num_ranks: int = 1
) -> Learner:
    """Build the optimizer, schedule and average of a model that is on its device already."""
    rate = base_rate(config, batch_size, num_ranks)
    groups = parameter_groups(model, rate, config.weight_decay, config.bias_rate_factor)
    if not groups:
        raise ConfigError("model.backbone.frozen_stages: nothing is left to train")
    schedule = Schedule(config.schedule, num_steps, config.warmup_steps, config.warmup_factor, config.milestones)
    average = None if config.ema_decay is None else average_weights(model, config.ema_decay)
    optimizer = build_optimizer(groups, config.optimizer, config.momentum)
    return Learner(model, optimizer, schedule, average, config.max_grad_norm)
