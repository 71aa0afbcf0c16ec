"""A network of two weights and its losses: what the training loop sees, in microseconds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from panet.config import ModelConfig
from panet.structures import Batch, ImageBatch, LabelMap, Target
from panet.train.learner import Learner, average_weights
from panet.train.loop import Plan
from panet.train.optimizer import build_optimizer, parameter_groups
from panet.train.run import Run, StepRecord
from panet.train.schedule import Schedule


class LinearObjective(nn.Module):
    """(a x + b - 1)^2 over the mean x of the batch, plus noise from the generator."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(3, 1)
        self.model.register_buffer("seen", torch.zeros(1))
        with torch.no_grad():
            self.model.weight.fill_(2.0)
            self.model.bias.zero_()

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pixels = batch.images.tensor.mean(dim=(2, 3))
        noise = torch.randn(pixels.shape, generator=generator)
        if self.training:
            self.model.seen.add_(len(batch))
        error = self.model(pixels + 0.1 * noise) - 1
        return {"class": error.square().mean(), "box": 0.1 * error.abs().mean()}


def _make_batch(number: int) -> Batch:
    generator = torch.Generator().manual_seed(number)
    nothing = torch.zeros(0, dtype=torch.bool)
    target = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 8, 8).bool(), nothing, number)
    pixels = torch.rand(1, 3, 32, 32, generator=generator)
    return Batch(ImageBatch(pixels, ((8, 8),), ((8, 8),)), (target,))


class Fakes:
    """Builds the parts of a run, each with settings that show something in ten steps."""

    def __init__(self) -> None:
        self.steps: list[StepRecord] = []
        self.notes: list[str] = []

    def objective(self) -> LinearObjective:
        return LinearObjective()

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Give batches whose picture has the id start + 1, start + 2, ..."""
        number = start
        while True:
            number += 1
            yield _make_batch(number)

    def plan(self, **changes: object) -> Plan:
        return Plan(**{"device": torch.device("cpu"), "num_steps": 10, "steps_per_check": 4, "seed": 3, **changes})

    def learner(
        self, model: nn.Module, optimizer: str = "sgd", ema_decay: float | None = None, limit: float | None = None
    ) -> Learner:
        groups = parameter_groups(model, 0.05, 0.01, 2.0)
        average = None if ema_decay is None else average_weights(model, ema_decay)
        schedule = Schedule("cosine", 10, warmup_steps=2, warmup_factor=0.1)
        return Learner(model, build_optimizer(groups, optimizer, 0.9), schedule, average, limit)

    def run(self, folder: Path, on_step: Callable[[StepRecord], object] | None = None, **more: object) -> Run:
        """Give a run that has not started; what it tells is in `steps` and `notes`."""
        folder.mkdir(parents=True, exist_ok=True)
        return Run(
            folder,
            ModelConfig(num_classes=1),
            LabelMap((1,), ("nucleus",)),
            steps_per_epoch=4,
            notes={"by": "a test"},
            on_step=on_step or self.steps.append,
            on_note=self.notes.append,
            **more,
        )


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "train"
