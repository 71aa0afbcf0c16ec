"""A step changes weights, momentum and averages, and all of it can be saved and set."""

import math

import pytest
import torch
from torch import nn

from panet.errors import CheckpointError, DivergedError


def give_gradients(model: nn.Module, value: float) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)


def test_without_an_average_the_model_itself_is_judged(fakes) -> None:
    model = nn.Linear(2, 1)
    assert fakes.learner(model).judged is model


def test_the_norm_is_measured_before_clipping_and_the_step_taken_after(fakes) -> None:
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    learner = fakes.learner(model, limit=1.0)
    learner.optimizer.param_groups[0]["weight_decay"] = 0.0
    give_gradients(model, 2.0)
    rate, norm = learner.update(1)
    assert rate == pytest.approx(0.005)  # 0.05, warmed up from a tenth
    assert norm == pytest.approx(math.sqrt(12))
    # A gradient of norm 1 has entries of 1 / sqrt(3).
    torch.testing.assert_close(before - model.weight.detach(), torch.full((1, 3), 0.005 / math.sqrt(3)))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e18])
def test_gradients_that_are_not_finite_or_soon_would_be_are_refused_before_they_do_harm(fakes, value: float) -> None:
    model = nn.Linear(3, 1)
    learner = fakes.learner(model, ema_decay=0.9)
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    give_gradients(model, value)
    with pytest.raises(DivergedError, match="the norm of the gradients is "):
        learner.update(7)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.tensors().items())


def test_large_gradients_that_are_clipped_do_no_harm(fakes) -> None:
    model = nn.Linear(3, 1)
    give_gradients(model, 1e18)
    fakes.learner(model, limit=1.0).update(1)
    assert model.weight.abs().max() < 1


def test_the_average_follows_slowly_and_copies_buffers(fakes) -> None:
    model = nn.BatchNorm1d(1)
    learner = fakes.learner(model, ema_decay=0.999)
    for step, weight in enumerate((1.0, 2.0), start=1):
        with torch.no_grad():
            model.weight.fill_(weight)
            model.running_mean.fill_(weight)
        give_gradients(model, 0.0)
        learner.update(step)
    assert learner.judged is not model
    # The first update copies 1; at the second the decay is min(0.999, 2 / 11).
    assert learner.judged.weight.item() == pytest.approx(2 / 11 * 1 + 9 / 11 * 2)
    assert learner.judged.running_mean.item() == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_what_is_saved_can_be_set(fakes, optimizer: str, ema_decay: float | None) -> None:
    learners = [fakes.learner(fakes.objective().model, optimizer, ema_decay) for _ in range(2)]
    for step in (1, 2):
        give_gradients(learners[0].model, 1.0 / step)
        learners[0].update(step)
    learners[1].load_tensors(learners[0].tensors())
    for learner in learners:
        give_gradients(learner.model, 0.25)
        learner.update(3)
    first, second = (learner.tensors() for learner in learners)
    assert first.keys() == second.keys()
    assert any(name.startswith("optimizer.weight.") for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_momentum_that_is_set_lies_in_memory_as_its_weights_do(fakes) -> None:
    first, second = (nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last) for _ in range(2))
    learner, other = fakes.learner(first), fakes.learner(second)
    give_gradients(first, 1.0)
    learner.update(1)
    other.load_tensors({name: tensor.contiguous() for name, tensor in learner.tensors().items()})
    momentum = other.optimizer.state[second.weight]["momentum_buffer"]
    assert momentum.stride() == second.weight.stride()
    assert torch.equal(momentum, learner.optimizer.state[first.weight]["momentum_buffer"])


def test_before_the_first_step_there_is_no_optimizer_state_and_that_is_well(fakes) -> None:
    learner = fakes.learner(nn.Linear(3, 1))
    learner.load_tensors(learner.tensors())


def test_tensors_of_another_model_are_refused(fakes) -> None:
    tensors = fakes.learner(nn.Linear(3, 2)).tensors()
    with pytest.raises(CheckpointError, match=r"do not fit the model: size mismatch for bias"):
        fakes.learner(nn.Linear(3, 1)).load_tensors(tensors)


def test_optimizer_state_of_a_frozen_parameter_is_refused(fakes) -> None:
    model = nn.Linear(3, 1)
    learner = fakes.learner(model)
    give_gradients(model, 1.0)
    learner.update(1)
    tensors = learner.tensors()
    model.bias.requires_grad_(False)
    with pytest.raises(CheckpointError, match="optimizer state for 'bias'"):
        fakes.learner(model).load_tensors(tensors)
