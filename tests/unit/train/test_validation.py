"""The losses on validation pictures: an ordinary call that leaves no trace."""

import itertools

import pytest
import torch

from panet.data.dataset import sample_generator
from panet.train.distributed import Ranks
from panet.train.validation import losses_by_batch, mean_losses

CPU = torch.device("cpu")


def validation_losses(objective, batches, device: torch.device, seed: int) -> dict[str, float]:
    return mean_losses(losses_by_batch(objective, batches, device, seed))


def test_the_means_of_all_batches_and_their_sum_are_given(fakes) -> None:
    objective = fakes.objective().eval()
    batches = list(itertools.islice(fakes.batches(), 3))
    with torch.no_grad():
        each = [objective(batch, sample_generator(1, 0, i))["class"].item() for i, batch in enumerate(batches)]
    losses = validation_losses(objective, batches, CPU, seed=1)
    assert losses.keys() == {"class", "box", "total"}
    assert losses["total"] == pytest.approx(losses["class"] + losses["box"])
    assert losses["class"] == pytest.approx(sum(each) / 3)


def test_two_calls_agree_and_another_seed_does_not(fakes) -> None:
    objective = fakes.objective()
    batches = list(itertools.islice(fakes.batches(), 3))
    assert validation_losses(objective, batches, CPU, 1) == validation_losses(objective, batches, CPU, 1)
    assert validation_losses(objective, batches, CPU, 1) != validation_losses(objective, batches, CPU, 2)


def test_weights_buffers_gradients_and_modes_stay(fakes) -> None:
    objective = fakes.objective()
    objective.model.eval()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    validation_losses(objective, itertools.islice(fakes.batches(), 2), CPU, 1)
    assert objective.training
    assert not objective.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in objective.state_dict().items())
    assert all(parameter.grad is None for parameter in objective.parameters())


def test_a_batch_has_the_same_losses_whichever_rank_has_it(fakes) -> None:
    objective = fakes.objective()
    batches = list(itertools.islice(fakes.batches(), 3))
    whole = losses_by_batch(objective, batches, CPU, 1)
    shares = [losses_by_batch(objective, batches[rank::2], CPU, 1, Ranks(rank, 2)) for rank in (0, 1)]
    assert whole == [shares[0][0], shares[1][0], shares[0][1]]
