"""Scores on the validation pictures while a run trains; several processes share the pictures."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from panet.config import Config
from panet.data.build import build_test_loader
from panet.data.coco import CocoDataset
from panet.evaluate.runner import predict_all, score_all
from panet.model.panet import PANet
from panet.objective.build import build_objective
from panet.structures import Batch
from panet.train.distributed import Ranks
from panet.train.interrupts import Interrupts
from panet.train.loop import Judge
from panet.train.progress import TrainingDisplay
from panet.train.validation import losses_by_batch, mean_losses

__all__ = ["judge_on"]


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
    loader = build_test_loader(dataset, config.model, config.data.workers, config.data.worker_timeout, share)
    max_dets = config.train.max_dets

    def judge(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, PANet)
        objective = build_objective(model, config.objective, config.model.rpn)
        with display.evaluating(2 * len(dataset)) as bar:

            def count(num_pictures: int) -> None:
                bar(num_pictures * ranks.size)  # the others are about as far
                interrupts.heed()

            with ranks.together():
                predicted = predict_all(model, loader, dataset.label_map, max_dets, count)
                own = losses_by_batch(objective, _counted(loader, count), device, config.train.seed, ranks)
            results, losses = ranks.collect(predicted.results), ranks.collect(own)
            metrics = ranks.share(lambda: score_all(dataset, results, predicted.kinds, max_dets).metrics)
            means = ranks.share(lambda: mean_losses(losses))
        return metrics | {f"loss/{name}": loss for name, loss in means.items()}

    return judge


def _counted(batches: Iterable[Batch], count: Callable[[int], None]) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        count(len(batch))
