"""Settings -> steps, rates and what learns."""

import pytest
import torch
from torch import nn

from panet.config import TrainConfig
from panet.errors import ConfigError
from panet.train.build import base_rate, build_learner, build_plan

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("changes", "num_steps", "steps_per_check"),
    [
        ({"epochs": 12.0}, 1200, 100),
        ({"epochs": 0.001}, 1, 100),
        ({"epochs": 2.0, "accumulate": 4}, 50, 25),
        ({"steps": 7, "evaluate_every": 0.001}, 7, 1),
        ({"epochs": 1.0, "evaluate_every": 2.5}, 100, 250),
    ],
)
def test_epochs_become_steps(changes: dict, num_steps: int, steps_per_check: int) -> None:
    plan = build_plan(TrainConfig(**changes), CPU, batches_per_epoch=100)
    assert (plan.num_steps, plan.steps_per_check) == (num_steps, steps_per_check)


def test_the_rate_is_for_sixteen_pictures_unless_told_otherwise() -> None:
    assert base_rate(TrainConfig(learning_rate=0.02, accumulate=2), 4) == pytest.approx(0.01)
    assert base_rate(TrainConfig(learning_rate=0.02, scale_learning_rate=False), 4) == 0.02


def test_settings_reach_the_learner() -> None:
    config = TrainConfig(optimizer="adamw", ema_decay=0.99, max_grad_norm=5.0, warmup_steps=10, warmup_factor=0.25)
    learner = build_learner(nn.Linear(2, 1), config, batch_size=16, num_steps=100)
    assert type(learner.optimizer) is torch.optim.AdamW
    assert learner.judged is not learner.model
    assert learner.max_grad_norm == 5.0
    assert learner.schedule(1) == 0.25


def test_a_model_that_is_wholly_frozen_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing is left to train"):
        build_learner(nn.Linear(2, 1).requires_grad_(False), TrainConfig(), 16, 100)
