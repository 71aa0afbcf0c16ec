"""`panet replay`: the step of a run that diverged, once more."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from panet.config import Config
    from panet.data.coco import CocoDataset
    from panet.errors import PANetError
    from panet.structures import Batch
    from panet.train.divergence import Divergence
    from panet.train.tracing import Finding, Trace

__all__ = ["replay"]

_DIVERGED = 3


def replay(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that ended with exit code 3.")],
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the run's.")] = None,
) -> int:
    """Repeat the step at which a run diverged, and name the first tensor that is not finite.

    The weights are those before the step, the pictures and all that is drawn those of the step. Exit code 3 if it
    diverges again, 0 if not. Nothing is written.
    """
    import torch
    from rich.console import Console

    from panet.cli.training import read_splits
    from panet.predict.predictor import pick_device
    from panet.train.divergence import describe_pictures, read_divergence
    from panet.train.folder import read_run_config

    console = Console(highlight=False)
    report, config = read_divergence(folder), read_run_config(folder)
    place = pick_device(device or report.device)
    if place.type == "cpu":
        torch.set_num_threads(report.threads)  # with another number of them, sums have another order
    batches = _batches(report, read_splits(config, console).train, config)
    found = _repeat(folder, report, config, batches, place)
    _print(console, f"step {report.step}, {describe_pictures(report)}")
    _print(console, f"in the run: {report.first or report.problem}")
    if found.first is None:
        _print(console, f"not reproduced: here, step {report.step} has finite losses and gradients ({place})")
        return 0
    again = "the same" if found.first == report.first else "another than in the run"
    _print(console, f"replayed: {found.first} ({again}, {place})")
    for line in _details(found.first, found.losses):
        _print(console, line)
    return _DIVERGED


def _batches(report: "Divergence", dataset: "CocoDataset", config: "Config") -> list["Batch"]:
    from panet.data.build import build_batch
    from panet.errors import DataError

    batches = []
    for batch in report.batches:
        for (_, index), image_id in zip(batch.keys, batch.image_ids, strict=True):
            if index >= len(dataset) or dataset.images[index].id != image_id:
                raise DataError(
                    f"{dataset.path}: picture {index} is no longer image {image_id!r}: the data has changed"
                )
        batches.append(build_batch(dataset, config.data, config.model, config.train.seed, batch.keys))
    return batches


def _repeat(folder: Path, report: "Divergence", config: "Config", batches: list["Batch"], place: object) -> "Trace":
    """Load the weights before the step and repeat it."""
    from functools import partial

    import torch

    from panet.errors import CheckpointError
    from panet.model.build import build_model
    from panet.objective.build import build_objective
    from panet.structures import LabelMap
    from panet.train.build import build_learner, build_plan
    from panet.train.checkpoints import Checkpoints
    from panet.train.loop import backpropagate
    from panet.train.sums import Sums
    from panet.train.tracing import trace

    assert isinstance(place, torch.device)
    standing, tensors, _ = Checkpoints(folder, config.model, LabelMap((), ()), Sums(folder)).load()
    if not tensors or standing.step != report.step - 1:
        there = f"its newest checkpoint is of step {standing.step}" if tensors else "it has no checkpoint"
        raise CheckpointError(
            f"{folder}: {there}; the one of step {report.step - 1}, before the step that diverged, is gone: "
            "there is nothing to replay"
        )
    model = build_model(config.model, config.train.seed, load_backbone=False).to(place)
    objective = build_objective(model, config.objective, config.model.rpn).train()
    plan = build_plan(config.train, place, batches_per_epoch=1)
    learner = build_learner(model, config.train, config.data.batch_size, plan.num_steps)
    learner.load_tensors(tensors)
    moved = [batch.to(place) for batch in batches]
    share = (report.rank, report.num_ranks)
    attempt = partial(backpropagate, report.step, objective, moved, learner, plan, share, _agree_alone)
    return trace(objective, learner, attempt)


def _agree_alone(losses: "Mapping[str, float]", problem: "PANetError | None") -> dict[str, float]:
    if problem is not None:
        raise problem
    return dict(losses)


def _details(first: "Finding", batch_losses: "Sequence[dict[str, float]]") -> list[str]:
    lines = [
        f"  shape {list(first.shape)}: {first.num_nan} NaN, {first.num_infinite} infinite",
        f"  finite before it: {first.after or 'nothing that was looked at'}",
    ]
    named = [", ".join(f"{name} {loss:.4g}" for name, loss in losses.items()) for losses in batch_losses]
    return lines + [f"  losses: {each}" for each in named]


def _print(console: "Console", line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
