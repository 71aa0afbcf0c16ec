"""The first tensor of a step that is not finite, wherever it arises."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from panet.errors import DivergedError
from panet.train.tracing import trace


class Chain(nn.Module):
    """Three layers, a norm, and a ReLU that works in place; `change` may spoil what is between the last two."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Linear(4, 1)
        self.change: Callable[[Tensor], Tensor] = lambda x: x

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.change(self.relu(self.norm(self.first(x)))))


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Chain()
        self.factor = 1.0

    def forward(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        found = self.model(batch.images.tensor.mean(dim=(2, 3)))
        return {"class": found.square().mean(), "box": self.factor * found.abs().mean()}


@pytest.fixture
def judge() -> Judge:
    torch.manual_seed(0)
    return Judge()


def look(judge: Judge, fakes, batch=None):
    """Trace one step as the loop would make it."""
    learner = fakes.learner(judge.model)
    batch = batch or next(fakes.batches())
    pair = torch.cat((batch.images.tensor, 2 * batch.images.tensor))
    batch = type(batch)(type(batch.images)(pair, batch.images.sizes * 2, ((8, 8),) * 2), batch.targets * 2)

    def attempt() -> None:
        learner.optimizer.zero_grad()
        total = sum(judge(batch, torch.Generator()).values())
        if not torch.isfinite(total):
            raise DivergedError("a loss is not finite")
        total.backward()

    return trace(judge, learner, attempt)


def test_a_sound_step_has_no_finding_and_leaves_no_hook(judge: Judge, fakes) -> None:
    found = look(judge, fakes)
    assert found.first is None
    assert found.gradient_norm > 0
    assert [losses.keys() for losses in found.losses] == [{"class", "box"}]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in judge.modules())
    assert not any(weight._backward_hooks for weight in judge.parameters())


def spoil_input(judge: Judge, batch: Any) -> None:
    batch.images.tensor[0, 0, 0, 0] = torch.nan


def spoil_weight(judge: Judge, batch: Any) -> None:
    judge.model.last.weight.data[0, 1] = torch.inf


def spoil_output(judge: Judge, batch: Any) -> None:
    judge.model.first.weight.data.fill_(3e38)


def spoil_statistics(judge: Judge, batch: Any) -> None:
    judge.model.first.weight.data[:] = torch.tensor([3e22, -1e22, -1e22])


def spoil_between(judge: Judge, batch: Any) -> None:
    judge.model.change = lambda x: x / 0


def spoil_loss(judge: Judge, batch: Any) -> None:
    judge.factor = torch.nan


def spoil_gradient(judge: Judge, batch: Any) -> None:
    """The root of what ReLU has set to 0 is 0; its slope there is infinite."""
    judge.model.norm.bias.data.fill_(-50)
    judge.model.change = torch.sqrt


def spoil_norm(judge: Judge, batch: Any) -> None:
    judge.factor = 1e30


@pytest.mark.parametrize(
    ("spoil", "kind", "name", "after"),
    [
        (spoil_input, "input", "pixels", "weight norm.num_batches_tracked"),
        (spoil_weight, "weight", "last.weight", "weight norm.bias, before the step"),
        (spoil_output, "output", "first", "boxes of the pictures"),
        (spoil_statistics, "statistics", "norm.running_var", "running statistics norm.running_mean"),
        (spoil_between, "output", "last", "output of relu (forward)"),
        (spoil_loss, "loss", "box", "loss class (forward)"),
        (spoil_gradient, "output gradient", "relu", "gradient of weight last."),
        (spoil_norm, "gradient norm", "last.weight", "gradient of weight first."),
    ],
)
def test_the_first_is_named(judge: Judge, fakes, spoil, kind: str, name: str, after: str) -> None:
    batch = next(fakes.batches())
    spoil(judge, batch)
    first = look(judge, fakes, batch).first
    assert (first.kind, first.name) == (kind, name)
    assert name in str(first)
    if kind != "input":  # integers cannot be anything but finite and are not looked at
        assert first.after.startswith(after)
    assert (first.num_nan + first.num_infinite > 0) == (kind != "gradient norm")


def test_a_gradient_of_a_weight_alone_is_named(judge: Judge, fakes) -> None:
    batch = next(fakes.batches())
    weight = judge.model.last.weight
    judge.model.change = lambda x: x + weight.sub(weight.detach()).abs().sqrt().sum()
    first = look(judge, fakes, batch).first
    assert (first.kind, first.name, first.shape) == ("weight gradient", "last.weight", (1, 4))


def test_losses_whose_sum_is_too_large_are_a_finding_too(judge: Judge, fakes) -> None:
    judge.model.last.bias.data.fill_(1.2e19)  # its square is 1.4e38, of two 2.9e38
    judge.factor = 1.8e19
    first = look(judge, fakes).first
    assert (first.kind, first.name) == ("loss", "total")
