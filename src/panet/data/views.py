"""A picture -> its views for test-time augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from panet.data.batching import Normalise, make_image_batch
from panet.data.coco import CocoDataset
from panet.data.dataset import Key, read_record
from panet.data.transforms import View, apply_view, view_for_test
from panet.structures import TTA, Arithmetic, ImageBatch, Size, Views

__all__ = ["ViewDataset", "ViewMaker"]


@dataclass(frozen=True)
class ViewMaker:
    """What a model's settings and a user's TTA make of a picture.

    Args:
        tta: the views.
        short_side: input px of the shorter side at scale 1,
        max_side: unless the longer one would exceed this, at any scale.
        normalise: pixels -> network input.
        arithmetic: how pictures are resized, see `data.transforms.view_for_test`.
    """

    tta: TTA
    short_side: int
    max_side: int
    normalise: Normalise
    arithmetic: Arithmetic = "modern"

    def __call__(self, pixels: Tensor, image_id: int | str = "") -> Views:
        """Give the views of (3, H0, W0) uint8 RGB: each size once, as it is and then mirrored.

        A picture and its mirror image have the same views, in another order.
        """
        size: Size = int(pixels.shape[-2]), int(pixels.shape[-1])
        sizes = {self._view(size, scale): None for scale in self.tta.scales}  # in order, without repetition
        images: list[ImageBatch] = []
        mirrored: list[bool] = []
        for view in sizes:
            for flip in (False, True) if self.tta.flip else (False,):
                window = apply_view(pixels.flip(-1) if flip else pixels, view)
                images.append(make_image_batch([window], [size], self.normalise, [view.factor], [view.late_size]))
                mirrored.append(flip)
        return Views(tuple(images), tuple(mirrored), image_id)

    def _view(self, size: Size, scale: float) -> View:
        return view_for_test(size, max(1, round(self.short_side * scale)), self.max_side, self.arithmetic)


class ViewDataset:
    """The views of a data set's pictures, by a list of one (epoch, index)."""

    def __init__(self, dataset: CocoDataset, maker: ViewMaker) -> None:
        self._images = dataset.images
        self._maker = maker

    def __call__(self, keys: Sequence[Key]) -> Views:
        """Make the views of a picture; DataError names one that cannot be read or has another size than stated."""
        ((_, index),) = keys
        record = self._images[index]
        return self._maker(read_record(record), record.id)
