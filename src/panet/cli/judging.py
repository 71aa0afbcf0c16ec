"""Scores on the validation pictures while a run trains; several processes share the pictures."""

from collections.abc import Callable, Iterable, Iterator

import torch
import typer
from torch import nn

from panet.cli.ranks import rank_prefix
from panet.config import Config
from panet.data.build import build_test_loader
from panet.data.coco import CocoDataset
from panet.data.loading import Unreadable
from panet.errors import DataError
from panet.evaluate.runner import predict_all, score_all
from panet.model.panet import PANet
from panet.objective.build import build_objective
from panet.structures import Batch
from panet.train.distributed import Ranks
from panet.train.interrupts import Interrupts
from panet.train.loop import Judge
from panet.train.progress import TrainingDisplay
from panet.train.validation import losses_by_batch, mean_losses

__all__ = ["judge_on", "tell_drop"]


def judge_on(
    dataset: CocoDataset,
    config: Config,
    device: torch.device,
    display: TrainingDisplay,
    ranks: Ranks,
    interrupts: Interrupts,
) -> Judge:
    """Make what scores a model on pictures, each on one rank: COCO's metrics, and the losses as "loss/...".

    Args:
        dataset: the validation pictures.
        config: of the run.
        device: of the model.
        display: shows how far it is.
        ranks: all of them must call it, and get the same.
        interrupts: heeded between pictures.
    """
    share = (ranks.rank, ranks.size)
    skip = config.data.on_bad_data == "skip"
    loader = build_test_loader(dataset, config.model, config.data.workers, config.data.worker_timeout, share, skip)
    max_dets = config.train.max_dets

    def tell(why: DataError) -> None:
        tell_drop(display, f"left out of scoring, its objects too: {why}")

    def judge(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, PANet)
        objective = build_objective(model, config.objective, config.model.rpn)
        with display.evaluating(2 * len(dataset)) as bar:

            def count(num_pictures: int) -> None:
                bar(num_pictures * ranks.size)  # the others are about as far
                interrupts.heed()

            with ranks.together():
                predicted = predict_all(model, loader, dataset.label_map, max_dets, count, on_unreadable=tell)
                own = losses_by_batch(objective, _counted(loader, count), device, config.train.seed, ranks)
            results, losses = ranks.collect(predicted.results), ranks.collect(own)
            metrics = ranks.share(lambda: score_all(dataset, results, predicted.kinds, max_dets).metrics)
            means = ranks.share(lambda: mean_losses(losses))
        num_left_out = sum(found is None for found in results)
        if num_left_out:
            display.note(f"scores are over {len(dataset) - num_left_out} of {len(dataset)} pictures")
        return metrics | {f"loss/{name}": loss for name, loss in means.items()}

    return judge


def _counted(batches: Iterable[Batch | Unreadable], count: Callable[[int], None]) -> Iterator[Batch | Unreadable]:
    for batch in batches:
        yield batch
        count(1 if isinstance(batch, Unreadable) else len(batch))


def tell_drop(display: TrainingDisplay, line: str) -> None:
    """Say what is left out: beside the progress if it is seen, else on stderr, and by which rank."""
    line = f"{rank_prefix()}{line}"
    if display.is_seen:
        display.note(line)
    else:
        typer.echo(line, err=True)
