"""Parameter groups: the released code's rules, each parameter once."""

from collections import Counter

import pytest
import torch
from torch import nn

from panet.model.build import build_model
from panet.presets import preset
from panet.train.optimizer import build_optimizer, parameter_groups, set_rate


def by_name(groups: list[dict]) -> dict[str, dict]:
    return {group["name"]: group for group in groups}


def test_a_model_with_nothing_to_train_has_no_groups() -> None:
    assert parameter_groups(nn.Linear(2, 1).requires_grad_(False), 0.1, 0.01, 2.0) == []


def test_biases_learn_twice_as_fast_and_only_weights_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    groups = by_name(parameter_groups(model, 0.1, 0.01, 2.0))
    assert [(name, group["lr"], group["weight_decay"]) for name, group in groups.items()] == [
        ("weights", 0.1, 0.01),
        ("biases", 0.2, 0.0),
        ("scales", 0.1, 0.0),
    ]
    assert groups["biases"]["params"] == [model[0].bias, model[1].bias]
    assert groups["scales"]["params"] == [model[1].weight]


def test_the_released_mask_model_has_81_weights_45_biases_30_scales_and_117_frozen_tensors() -> None:
    model = build_model(preset("panet_r50").model)
    groups = by_name(parameter_groups(model, 0.02, 1e-4, 2.0))
    assert {name: len(group["params"]) for name, group in groups.items()} == {
        "weights": 81,
        "biases": 45,
        "scales": 30,
    }
    assert sum(not parameter.requires_grad for parameter in model.parameters()) == 117
    times = Counter(id(parameter) for group in groups.values() for parameter in group["params"])
    assert times == Counter(id(parameter) for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("kind", "expected"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_of_the_kind_asked_for(kind: str, expected: type) -> None:
    optimizer = build_optimizer(parameter_groups(nn.Linear(2, 1), 0.1, 0.01, 2.0), kind, 0.8)
    assert type(optimizer) is expected
    group = optimizer.param_groups[0]
    assert (group["momentum"] if kind == "sgd" else group["betas"][0]) == 0.8


def test_a_factor_is_always_on_the_first_rate() -> None:
    optimizer = build_optimizer(parameter_groups(nn.Linear(2, 1), 0.1, 0.01, 2.0), "sgd", 0.9)
    set_rate(optimizer, 0.5)
    assert set_rate(optimizer, 0.1) == pytest.approx(0.01)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.02])
