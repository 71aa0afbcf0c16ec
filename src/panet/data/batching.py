"""Samples -> Batch, and which pictures come together, step by step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Sampler

from panet.data.dataset import Key, sample_generator
from panet.data.transforms import Sample
from panet.structures import Batch, ImageBatch, Size, Target

__all__ = ["BatchPlan", "Normalise", "StepSampler", "collate", "make_image_batch"]

_STRIDE = 32  # of the coarsest backbone level: every level's size is then whole


@dataclass(frozen=True)
class Normalise:
    """(3, h, w) RGB, uint8 or float32 0..255 -> (pixel - mean) / std, float32.

    Args:
        mean, std: by channel, in the order of the output.
        bgr: whether the output's channels are blue, green, red.
        unit: whether pixels are brought to 0..1 first, mean and std too, so that rounding is torchvision's.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool
    unit: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        pixels = image.flip(0) if self.bgr else image
        whole = 255.0 if self.unit else 1.0
        mean, std = (torch.tensor([each / whole for each in side]).view(3, 1, 1) for side in (self.mean, self.std))
        return (pixels.to(torch.float32) / whole).sub_(mean).div_(std)


def make_image_batch(
    images: Sequence[Tensor],
    original_sizes: Sequence[Size],
    pixels: Callable[[Tensor], Tensor],
    factors: Sequence[float | None] = (),
    late_sizes: Sequence[Size | None] = (),
) -> ImageBatch:
    """Normalise pictures, resize those of late views, then pad them with zeros to one size, a multiple of 32.

    The batch lies channels last, and so does every map that a conv makes of it: it is what CPUs and GPUs are fast with.

    Args:
        images: B of (3, h, w), as `pixels` takes them, on one device.
        original_sizes: B pairs (H0, W0) in image px.
        pixels: what makes them network input, such as a Normalise.
        factors: of the pictures' views; only if all have one does the batch tell them.
        late_sizes: of the pictures' views.
    """
    late = late_sizes or [None] * len(images)
    sizes = [size or (int(image.shape[-2]), int(image.shape[-1])) for image, size in zip(images, late, strict=True)]
    height, width = (-(-max(sides) // _STRIDE) * _STRIDE for sides in zip(*sizes, strict=True))
    tensor = images[0].new_zeros(len(images), height, width, 3, dtype=torch.float32).permute(0, 3, 1, 2)
    for row, image, (h, w) in zip(tensor, images, sizes, strict=True):
        row[:, :h, :w] = _resized(pixels(image), (h, w))
    known = tuple(factor for factor in factors if factor is not None)
    return ImageBatch(tensor, tuple(sizes), tuple(original_sizes), known if len(known) == len(sizes) else None)


def _resized(image: Tensor, size: Size) -> Tensor:
    if image.shape[-2:] == size:
        return image
    return interpolate(image[None], size, mode="bilinear", align_corners=False)[0]


def collate(samples: Sequence[Sample], pixels: Normalise) -> Batch:
    """Make a batch; each target keeps its own picture's (h, w)."""
    images = [sample.image.as_subclass(Tensor) for sample in samples]
    targets = tuple(
        Target(
            boxes=sample.boxes.as_subclass(Tensor),
            labels=sample.labels,
            masks=sample.masks.as_subclass(Tensor),
            crowd=sample.crowd,
            image_id=sample.image_id,
        )
        for sample in samples
    )
    sizes, factors = [sample.original_size for sample in samples], [sample.factor for sample in samples]
    late_sizes = [sample.late_size for sample in samples]
    return Batch(make_image_batch(images, sizes, pixels, factors, late_sizes), targets)


class BatchPlan:
    """Which pictures form the batches of an epoch: every picture once, in an order drawn from (seed, epoch).

    With grouping, a batch holds only pictures that are wider than high, or only others, so that little is padded; the
    few left over of both groups share the last batches. At most one batch of an epoch is smaller than the others.
    """

    def __init__(self, aspects: Sequence[float], batch_size: int, group: bool, seed: int) -> None:
        """Take each picture's width / height."""
        self._groups = torch.tensor([group and aspect > 1 for aspect in aspects], dtype=torch.bool)
        self._batch_size = batch_size
        self._seed = seed

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return -(-len(self._groups) // self._batch_size)

    def epoch(self, epoch: int) -> list[list[int]]:
        """List the batches of indices of one epoch."""
        generator = sample_generator(self._seed, epoch, -1)  # no picture has this index
        order = torch.randperm(len(self._groups), generator=generator)
        batches: list[list[int]] = []
        left_over: list[int] = []
        for wide in (False, True):
            members: list[int] = order[self._groups[order] == wide].tolist()
            num_full = len(members) // self._batch_size * self._batch_size
            batches += _split(members[:num_full], self._batch_size)
            left_over += members[num_full:]
        batches += _split(left_over, self._batch_size)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class StepSampler(Sampler[list[Key]]):
    """The keys of the batches of steps start_step + 1 .. num_steps; nothing is remembered between steps.

    With several processes, each takes its share of them: every `share[1]`-th, after the first `share[0]`.
    """

    def __init__(self, plan: BatchPlan, start_step: int, num_steps: int, share: tuple[int, int] = (0, 1)) -> None:
        self._plan = plan
        self._num_steps = num_steps
        self._steps = range(start_step + share[0], num_steps, share[1])

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[Key]]:
        step = self._steps.start  # 0 before the first
        while step < self._num_steps:
            epoch, done = divmod(step, len(self._plan))
            for indices in self._plan.epoch(epoch)[done : done + self._num_steps - step : self._steps.step]:
                yield [(epoch, index) for index in indices]
                step += self._steps.step


def _split(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]
