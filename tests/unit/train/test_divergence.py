"""A step that diverges: not taken, explained, and the state before it kept."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from panet.errors import CheckpointError, ConfigError, DivergedError
from panet.structures import Source
from panet.train.divergence import read_divergence
from panet.train.loop import train
from panet.weights.checkpoint import load_model


def with_sources(batches):
    """Name the pictures, as a data set's loader does."""
    for batch in batches:
        yield replace(batch, sources=tuple(Source(1, number - 1, f"{number}.png") for number in batch.image_ids))


def poison(fakes, on_picture: int, factor: float = math.nan):
    """Give an objective with a loss "mask" that is spoiled on one picture."""

    class Poisoned(type(fakes.objective())):
        def forward(self, batch, generator) -> dict[str, Tensor]:
            losses = super().forward(batch, generator)
            return losses | {"mask": losses["class"] * (factor if on_picture in batch.image_ids else 1)}

    return Poisoned()


def diverge(fakes, folder: Path, objective, **changes):
    """Train until it diverges; give the message and all tensors."""
    run, learner = fakes.run(folder), fakes.learner(objective.model)
    with pytest.raises(DivergedError) as caught:
        train(objective, with_sources(fakes.batches()), learner, fakes.plan(**changes), run)
    return str(caught.value), learner.tensors()


def test_the_step_is_not_taken_and_what_is_kept_is_the_state_before_it(fakes, tmp_path: Path) -> None:
    _, tensors = diverge(fakes, tmp_path / "spoiled", poison(fakes, 7))
    objective = poison(fakes, 99)
    run, learner = fakes.run(tmp_path / "short"), fakes.learner(objective.model)
    # Six steps of a run of ten, which ends in no evaluation at the sixth.
    with pytest.raises(StopIteration):
        train(objective, itertools.islice(fakes.batches(), 6), learner, fakes.plan(), run)
    assert tensors.keys() == learner.tensors().keys()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in learner.tensors().items())
    kept = load_model(tmp_path / "spoiled" / "checkpoint" / "step-00000006.safetensors").state
    assert all(torch.equal(kept[name], tensor) for name, tensor in tensors.items())
    last = load_model(tmp_path / "spoiled" / "weights" / "last.safetensors")
    assert last.notes["step"] == "6"
    assert torch.equal(last.state["seen"], torch.tensor([6.0]))  # a running statistic, which the seventh had moved


def test_the_line_names_the_step_the_tensor_the_losses_the_pictures_and_the_command(fakes, run_folder: Path) -> None:
    message, _ = diverge(fakes, run_folder, poison(fakes, 7))
    assert message.startswith("step 7: a loss is not finite; first: loss mask (forward); losses class ")
    assert "mask nan on images 7 7.png;" in message
    assert f"report: {run_folder / 'divergence.json'}; the weights of step 6 are kept" in message
    assert message.endswith(f"see it again with: panet replay {run_folder}")
    assert "\n" not in message


def test_the_report_has_all_of_it(fakes, run_folder: Path) -> None:
    diverge(fakes, run_folder, poison(fakes, 8), accumulate=2)
    report = read_divergence(run_folder)
    assert (report.step, report.kept_step, report.gradient_norm) == (4, 3, None)
    assert report.learning_rate == pytest.approx(0.05 * (0.5 + 0.5 * math.cos(math.pi / 8)))
    assert (report.first.kind, report.first.name, report.first.num_nan) == ("loss", "mask", 1)
    assert [batch.image_ids for batch in report.batches] == [(7,), (8,)]
    assert [batch.file_names for batch in report.batches] == [("7.png",), ("8.png",)]
    assert [batch.keys for batch in report.batches] == [((1, 6),), ((1, 7),)]
    assert math.isnan(report.batches[1].losses["mask"])
    assert all(map(math.isfinite, report.batches[0].losses.values()))
    text = (run_folder / "divergence.json").read_text()
    assert json.loads(text)["batches"][1]["losses"]["mask"] == "NaN"  # not the word of Python, which JSON has not


def test_of_several_batches_the_one_whose_loss_it_is_is_named(fakes, run_folder: Path) -> None:
    message, _ = diverge(fakes, run_folder, poison(fakes, 7), accumulate=2)
    assert "mask nan on images 7 7.png;" in message
    report = read_divergence(run_folder)
    assert [math.isnan(batch.losses["mask"]) for batch in report.batches] == [True, False]
    assert (report.rank, report.num_ranks) == (0, 1)


def test_gradients_that_are_not_finite_have_a_norm_in_the_report(fakes, run_folder: Path) -> None:
    class Rooted(type(fakes.objective())):
        def forward(self, batch, generator) -> dict[str, Tensor]:
            losses = super().forward(batch, generator)
            spoiled = (self.model.weight - self.model.weight.detach()).sum().abs().sqrt()  # 0, of infinite slope
            return losses | {"mask": spoiled if batch.image_ids == [3] else 0 * spoiled.detach()}

    message, _ = diverge(fakes, run_folder, Rooted())
    assert message.startswith("step 3: the norm of the gradients is nan; first: gradient of weight weight (backward)")
    report = read_divergence(run_folder)
    assert math.isnan(report.gradient_norm)
    assert report.kept_step == 2


def test_statistics_that_are_not_finite_stop_the_run_although_the_losses_are(fakes, run_folder: Path) -> None:
    class Counting(type(fakes.objective())):
        def forward(self, batch, generator) -> dict[str, Tensor]:
            losses = super().forward(batch, generator)
            if batch.image_ids == [5]:
                self.model.seen.fill_(math.inf)
            return losses

    message, tensors = diverge(fakes, run_folder, Counting())
    assert message.startswith(
        "step 5: running statistics of a batch norm are not finite; first: running statistics seen ("
    )
    assert tensors["model.seen"] == 4


def test_weights_that_cannot_be_kept_are_said_so(fakes, run_folder: Path) -> None:
    objective = poison(fakes, 3)
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)

    def refuse(_learner: object) -> None:
        raise CheckpointError("the disk is full")

    run.save = refuse
    with pytest.raises(DivergedError, match="the weights of step 2 could not be kept: the disk is full"):
        train(objective, fakes.batches(), learner, fakes.plan(), run)
    assert read_divergence(run_folder).kept_step is None


def test_a_report_that_cannot_be_written_is_said_so(fakes, run_folder: Path) -> None:
    (run_folder / "divergence.json").mkdir(parents=True)
    message, _ = diverge(fakes, run_folder, poison(fakes, 3))
    assert "report: none: " in message
    assert "the weights of step 2 are kept" in message


def test_many_pictures_are_named_in_the_report_and_the_first_of_them_on_the_screen(fakes, run_folder: Path) -> None:
    def joined():
        for batch in fakes.batches():
            images = replace(
                batch.images,
                tensor=batch.images.tensor.repeat(10, 1, 1, 1),
                sizes=batch.images.sizes * 10,
                original_sizes=batch.images.original_sizes * 10,
            )
            yield replace(batch, images=images, targets=batch.targets * 10)

    objective = poison(fakes, 1)
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    with pytest.raises(DivergedError, match=r"on images 1, 1, 1, 1, 1, 1, 1, 1 and 2 more;"):
        train(objective, joined(), learner, fakes.plan(), run)
    assert len(read_divergence(run_folder).batches[0].image_ids) == 10


def test_a_run_without_a_report_or_with_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no step of this run has diverged"):
        read_divergence(tmp_path)
    (tmp_path / "divergence.json").write_text('{"step": 3}')
    with pytest.raises(ConfigError, match="cannot be read as a report"):
        read_divergence(tmp_path)
