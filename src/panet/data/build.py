"""DataConfig -> loaders of batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from panet.config import DataConfig, ModelConfig
from panet.data.batching import BatchPlan, Normalise, StepSampler, collate
from panet.data.cache import PictureCache
from panet.data.coco import CocoDataset
from panet.data.dataset import Key, SampleDataset
from panet.data.extremes import Extremes, find_extremes
from panet.data.images import printable
from panet.data.loading import WORKER_TIMEOUT, Made, Unreadable, build_loader, tolerant
from panet.data.transforms import (
    ColourJitter,
    HorizontalFlip,
    RandomCrop,
    ResizeShortSide,
    Sample,
    ScaleJitter,
    Transform,
    VerticalFlip,
    ViewRule,
)
from panet.data.views import ViewDataset, ViewMaker
from panet.errors import ConfigError, DataError
from panet.structures import TTA, Batch, Source, Views

__all__ = [
    "at_largest",
    "build_batch",
    "build_extremes",
    "build_normalise",
    "build_test_batch",
    "build_test_extremes",
    "build_test_loader",
    "build_train_loader",
    "build_view_loader",
    "mean_test_area",
    "mean_train_area",
    "steps_per_epoch",
]

_DRAWS = 32  # of a size, for its mean

_T = TypeVar("_T")


def build_train_loader(
    dataset: CocoDataset,
    data: DataConfig,
    model: ModelConfig,
    seed: int,
    start_step: int,
    num_steps: int,
    on_drop: Callable[[DataError], None] | None = None,
    share: tuple[int, int] = (0, 1),
) -> DataLoader[Batch]:
    """Load the batches of steps start_step + 1 .. num_steps, each a function of the seed and the step alone.

    Of them, a process of several takes its `share`: (its number from 0, how many there are).

    A picture that can no longer be read is an error, or, with data.on_bad_data = skip, left out of its batch; no other
    takes its place, `on_drop` is told, and only a batch without any picture is an error.
    """
    samples = SampleDataset(dataset, _build_view_rule(data), _build_transforms(data), seed, _build_cache(dataset, data))
    sampler = StepSampler(_build_plan(dataset, data, seed), start_step, num_steps, share)
    make = _batches(samples, model, skip=data.on_bad_data == "skip")
    return build_loader(make, sampler, data.workers, data.worker_timeout, on_drop)


def build_batch(
    dataset: CocoDataset, data: DataConfig, model: ModelConfig, seed: int, keys: Sequence[Key], *, skip: bool = False
) -> Batch:
    """Make a batch of training samples, as the train loader would; DataError names a picture that cannot be read.

    With `skip`, it is left out, and only a batch without any picture is an error.
    """
    samples = SampleDataset(dataset, _build_view_rule(data), _build_transforms(data), seed)
    return _make_batch(samples, build_normalise(model), skip, [*keys]).batch


def at_largest(data: DataConfig) -> DataConfig:
    """Change settings so that every picture is shown at the largest of its sizes."""
    changes: dict[str, object] = {"short_sides": (max(data.short_sides, default=1),)}
    if data.scale_jitter is not None:
        changes["scale_jitter"] = (data.scale_jitter[1], data.scale_jitter[1])
    return data.model_copy(update=changes)


def build_extremes(dataset: CocoDataset, data: DataConfig) -> Extremes:
    """Find the pictures of the costliest batches."""
    show, generator = _build_view_rule(at_largest(data)), torch.Generator()
    sizes, counts = dataset.images.sizes, dataset.annotations.counts
    return find_extremes(sizes, counts, lambda size: show(size, generator).size, data.batch_size, data.group_by_aspect)


def mean_train_area(dataset: CocoDataset, data: DataConfig) -> float:
    """Give the mean area in px of a picture as training shows it, over all pictures and sizes."""
    return _mean_area(dataset, _build_view_rule(data), _DRAWS)


def mean_test_area(dataset: CocoDataset, model: ModelConfig) -> float:
    """Give the mean area in px of a picture as it is evaluated."""
    return _mean_area(dataset, _test_view_rule(model), 1)


def _mean_area(dataset: CocoDataset, rule: ViewRule, num_draws: int) -> float:
    generator = torch.Generator().manual_seed(0)
    kinds, counts = np.unique(dataset.images.sizes, axis=0, return_counts=True)
    total = 0.0
    for (height, width), count in zip(kinds.tolist(), counts.tolist(), strict=True):
        areas = [math.prod(rule((height, width), generator).size) for _ in range(num_draws)]
        total += count * sum(areas) / num_draws
    return total / len(dataset)


def build_test_extremes(dataset: CocoDataset, model: ModelConfig) -> tuple[int, ...]:
    """Find the pictures that cost most to evaluate: the largest, as the model sees it, and the one of most objects."""
    at_test, generator = _test_view_rule(model), torch.Generator()
    kinds, kind = np.unique(dataset.images.sizes, axis=0, return_inverse=True)
    areas = np.array([math.prod(at_test((height, width), generator).size) for height, width in kinds.tolist()])
    largest, crowded = areas[kind.reshape(-1)].argmax(), dataset.annotations.counts.argmax()
    return tuple(dict.fromkeys([int(largest), int(crowded)]))


def build_test_batch(dataset: CocoDataset, model: ModelConfig, index: int) -> Batch:
    """Make the batch of one picture, as the test loader would; DataError if it cannot be read."""
    return _make_batch(_test_samples(dataset, model), build_normalise(model), False, [(0, index)]).batch


def build_test_loader(
    dataset: CocoDataset,
    model: ModelConfig,
    workers: int,
    timeout: float | None = WORKER_TIMEOUT,
    share: tuple[int, int] = (0, 1),
    skip: bool = False,
) -> DataLoader[Batch | Unreadable]:
    """Load every picture of a share with its targets, one a batch, in the file's order, at the model's test size.

    No batch in `timeout` s is an error. A picture that can no longer be read is one too, or with `skip` Unreadable.
    """
    make = _batches(_test_samples(dataset, model), model)
    return _build_scoring_loader(make, dataset, workers, timeout, share, skip)


def build_view_loader(
    dataset: CocoDataset,
    model: ModelConfig,
    tta: TTA,
    workers: int,
    share: tuple[int, int] = (0, 1),
    skip: bool = False,
) -> DataLoader[Views | Unreadable]:
    """Load the views of every picture of a share, one picture at a time, in the file's order; `skip` as above."""
    maker = ViewMaker(tta, model.short_side, model.max_side, build_normalise(model), model.arithmetic)
    make = partial(_make_views, ViewDataset(dataset, maker))
    return _build_scoring_loader(make, dataset, workers, WORKER_TIMEOUT, share, skip)


def _test_samples(dataset: CocoDataset, model: ModelConfig) -> SampleDataset:
    return SampleDataset(dataset, _test_view_rule(model), (), seed=0)


def _test_view_rule(model: ModelConfig) -> ResizeShortSide:
    return ResizeShortSide((model.short_side,), model.max_side, model.arithmetic)


def _build_scoring_loader(
    make: Callable[[list[Key]], Made[_T]],
    dataset: CocoDataset,
    workers: int,
    timeout: float | None,
    share: tuple[int, int],
    skip: bool,
) -> DataLoader[_T | Unreadable]:
    loaded: Callable[[list[Key]], Made[_T | Unreadable]] = tolerant(make)
    if not skip:
        loaded = make  # type: ignore[assignment]  # a batch where a batch or another thing may be
    return build_loader(loaded, _InOrder(len(dataset), share), workers, timeout)


def steps_per_epoch(dataset: CocoDataset, data: DataConfig) -> int:
    """Count the batches in which every picture comes once."""
    return len(_build_plan(dataset, data, seed=0))


def build_normalise(model: ModelConfig) -> Normalise:
    """Make the step from 0..255 to network input."""
    pixels = model.pixels
    return Normalise(pixels.mean, pixels.std, pixels.channels == "bgr", unit=model.arithmetic == "torchvision")


def _batches(samples: SampleDataset, model: ModelConfig, skip: bool = False) -> "Callable[[list[Key]], Made[Batch]]":
    return partial(_make_batch, samples, build_normalise(model), skip)


def _make_batch(samples: SampleDataset, normalise: Normalise, skip: bool, keys: list[Key]) -> Made[Batch]:
    read: list[Sample] = []
    sources: list[Source] = []
    dropped: list[DataError] = []
    for key in keys:
        try:
            read.append(samples[key])
            sources.append(samples.source(key))
        except DataError as error:
            if not skip or (len(dropped) == len(keys) - 1):
                raise
            dropped.append(error)
    return Made(replace(collate(read, normalise), sources=tuple(sources)), tuple(dropped))


def _make_views(dataset: ViewDataset, keys: list[Key]) -> Made[Views]:
    return Made(dataset(keys))


class _InOrder(Sampler[list[Key]]):
    def __init__(self, num_images: int, share: tuple[int, int]) -> None:
        self._indices = range(share[0], num_images, share[1])

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[list[Key]]:
        return ([(0, index)] for index in self._indices)


def _build_plan(dataset: CocoDataset, data: DataConfig, seed: int) -> BatchPlan:
    heights, widths = dataset.images.sizes.T
    return BatchPlan((widths / heights).tolist(), data.batch_size, data.group_by_aspect, seed)


def _build_cache(dataset: CocoDataset, data: DataConfig) -> PictureCache | None:
    if data.cache_dir is None:
        return None
    folder = Path(data.cache_dir)
    for source in (dataset.images.folder, Path(data.root or dataset.images.folder)):
        if folder.resolve().is_relative_to(source.resolve()):
            raise ConfigError(
                f"data.cache_dir: {printable(folder)} lies in the data set's folder {printable(source)}, "
                "where nothing is written; name one elsewhere"
            )
    return PictureCache(folder, round(data.cache_gb * 10**9), data.workers)


def _build_view_rule(data: DataConfig) -> ViewRule:
    if not data.short_sides:
        raise ConfigError("data.short_sides is empty; give at least one size in px")
    resize = ResizeShortSide(data.short_sides, data.max_side)
    if data.scale_jitter is None:
        return resize if data.crop is None else RandomCrop(data.crop)
    if data.crop is None:
        raise ConfigError("data.scale_jitter needs data.crop: [height, width], which bounds the size of its input")
    if data.scale_jitter[0] > data.scale_jitter[1]:
        raise ConfigError(f"data.scale_jitter is {list(data.scale_jitter)}; write the smaller factor first")
    return ScaleJitter(resize, data.scale_jitter, data.crop)


def _build_transforms(data: DataConfig) -> list[Transform]:
    transforms: list[Transform] = []
    if data.flip:
        transforms.append(HorizontalFlip(data.flip))
    if data.vertical_flip:
        transforms.append(VerticalFlip(data.vertical_flip))
    if data.colour_jitter:
        transforms.append(ColourJitter(data.colour_jitter))
    return transforms
