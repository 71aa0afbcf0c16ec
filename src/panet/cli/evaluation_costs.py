"""What evaluating costs at most, told from the costliest pictures before the first step. Heavy to import."""

import math
import time
from dataclasses import dataclass

import torch
from torch import nn

from panet.config import Config
from panet.data.build import build_test_batch, build_test_extremes
from panet.data.coco import CocoDataset
from panet.data.images import printable
from panet.evaluate.runner import predict_most
from panet.model.panet import PANet
from panet.structures import Batch, Size
from panet.train.memory import OutOfMemory
from panet.train.room import peak_memory
from panet.train.validation import losses_by_batch

__all__ = ["Evaluated", "describe_evaluation", "num_bytes", "rehearse_evaluation"]


@dataclass(frozen=True)
class Evaluated:
    """What the largest and the most crowded picture took.

    Args:
        file_names: of the pictures, the largest first.
        size: (h, w) of the largest, padded, input px.
        num_detections: of the largest.
        num_bytes: of the larger batch.
        area: px of all of them, not padded.
        seconds: that they took.
        peak: bytes that the process has had at most by now; 0 where that cannot be told.
    """

    file_names: tuple[str, ...]
    size: Size
    num_detections: int
    num_bytes: int
    area: int
    seconds: float
    peak: int


def rehearse_evaluation(
    model: PANet, objective: nn.Module, validation: CocoDataset, config: Config, device: torch.device
) -> Evaluated:
    """Predict pictures with as many detections as are kept, and take their losses, as an evaluation does.

    Raises:
        DataError: a picture can no longer be read.
        ResourceError: memory runs out.
    """
    indices = build_test_extremes(validation, config.model)
    batches = [build_test_batch(validation, config.model, index) for index in indices]
    counts = []
    start = time.perf_counter()
    for batch in batches:
        with OutOfMemory(0, [batch]):
            counts.append(len(predict_most(model, batch, validation.label_map, config.train.max_dets)))
            losses_by_batch(objective, [batch], device, config.train.seed)
    height, width = batches[0].images.tensor.shape[-2:]
    return Evaluated(
        tuple(validation.images[index].file_name for index in indices),
        (height, width),
        counts[0],
        max(map(num_bytes, batches)),
        sum(math.prod(batch.images.sizes[0]) for batch in batches),
        time.perf_counter() - start,
        peak_memory(device) or 0,
    )


def describe_evaluation(evaluated: Evaluated) -> str:
    """Tell what was tried and how long it took."""
    height, width = evaluated.size
    names = evaluated.file_names
    named = printable(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    shape = f"1 x {height} x {width} px, {evaluated.num_detections} detections"
    return f"evaluation: {shape}, {evaluated.seconds:.2f} s ({named})"


def num_bytes(batch: Batch) -> int:
    """Count the bytes of a batch's pictures and masks."""
    masks = sum(target.masks.numel() for target in batch.targets)
    return batch.images.tensor.numel() * batch.images.tensor.element_size() + masks
