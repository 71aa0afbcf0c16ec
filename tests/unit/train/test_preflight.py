"""A rehearsal: a step's passes, and no trace of them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from panet.errors import DivergedError, ResourceError
from panet.train.preflight import rehearse, untouched

CPU = torch.device("cpu")


def test_a_rehearsal_changes_nothing(fakes) -> None:
    objective = fakes.objective().eval()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    torch.manual_seed(5)
    draws = torch.get_rng_state()
    with untouched(objective, CPU):
        assert objective.training
        rehearse(objective, next(fakes.batches()), CPU, False, "first batch")
        torch.rand(3)  # as a layer might that draws from the global generator
        assert objective.model.seen == 1
        assert objective.model.weight.grad is not None
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(tensor, before[name]) for name, tensor in objective.state_dict().items())
    assert all(weight.grad is None for weight in objective.parameters())
    assert not any(module.training for module in objective.modules())


def test_it_tells_seconds_and_the_peak_of_memory(fakes) -> None:
    took = rehearse(fakes.objective(), next(fakes.batches()), CPU, True, "first batch")
    assert took.forward > 0
    assert took.backward > 0
    assert took.peak is None or took.peak > 10 * 2**20


def test_a_loss_that_is_not_finite_is_told_before_the_first_step(fakes) -> None:
    batch = next(fakes.batches())
    spoiled = replace(batch, images=replace(batch.images, tensor=batch.images.tensor * math.nan))
    with pytest.raises(DivergedError, match=r"before the first step, first batch: a loss is not finite \(class nan, "):
        rehearse(fakes.objective(), spoiled, CPU, False, "first batch")


def test_memory_that_runs_out_is_told_with_the_shape(fakes) -> None:
    class Hungry(nn.Module):
        def forward(self, batch, generator) -> dict:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ResourceError, match=r"batch of shape \(1, 3, 32, 32\)"):
        rehearse(Hungry(), next(fakes.batches()), CPU, False, "first batch")
