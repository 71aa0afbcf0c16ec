"""Picture files, arrays and PIL pictures -> results."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from panet.data.batching import Normalise, make_image_batch
from panet.data.build import build_normalise
from panet.data.images import read_image, to_pixels
from panet.data.transforms import apply_view, view_at_scale, view_for_test
from panet.data.views import ViewMaker
from panet.data.windows import ImageLike, open_windows
from panet.errors import ConfigError, DataError
from panet.model.detections import to_image
from panet.model.fast import Precision, in_precision
from panet.model.panet import PANet
from panet.model.views import detect_views
from panet.ops.tiles import Tile
from panet.predict.large import LargeImage
from panet.predict.result import Result
from panet.predict.tiling import Tiling, find_by_tiles
from panet.structures import TTA, Arithmetic, Detections, LabelMap, Size
from panet.weights.checkpoint import restore

__all__ = ["Predictor", "Progress", "load", "pick_device"]

ImageList: TypeAlias = list[Any] | tuple[Any, ...]
"""Of ImageLike. (A list of one kind of them is no list of all kinds, and a str is a sequence of str.)"""

Progress: TypeAlias = Callable[[int, int], None]
"""Called after each tile of a picture with the number of tiles done, and of all."""


def load(path: str | Path, device: str = "auto", precision: Precision = "fp32") -> "Predictor":
    """Load a model file, or the bundled model by its name "bundled".

    Args:
        path: a .safetensors file that panet wrote, or a name.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: of weights and features. "fp32", so that a picture's result is the same on every machine up to
            rounding; "bf16" is about twice as fast where the hardware has it; "auto" is then "bf16", else "fp32".
            "reference" is fp32 by the layers as trained, not folded, not fused: slower, and equal up to rounding.

    Raises:
        CheckpointError: the file cannot be used; among others, because a weight is not finite.
        ConfigError: there is no such device or precision.
    """
    place = pick_device(device)
    model, model_file = restore(path)
    config = model_file.config
    return Predictor(
        in_precision(model.to(place), precision),
        model_file.label_map,
        short_side=config.short_side,
        max_side=config.max_side,
        normalise=build_normalise(config),
        arithmetic=config.arithmetic,
    )


def pick_device(name: str) -> torch.device:
    """Give the device of a name, "auto" for a GPU if there is one; ConfigError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r}: not available here: use 'cpu' or 'auto'") from error
    return device


class Predictor:
    """A model with all that it needs to look at pictures."""

    def __init__(
        self,
        model: PANet,
        label_map: LabelMap,
        *,
        short_side: int,
        max_side: int,
        normalise: Normalise,
        arithmetic: Arithmetic = "modern",
    ) -> None:
        """Take a model on its device and set it to eval mode.

        Args:
            model: the network.
            label_map: what its labels stand for.
            short_side: input px that a picture's shorter side gets,
            max_side: unless the longer one would exceed this.
            normalise: pixels -> network input.
            arithmetic: how pictures are resized, see `data.transforms.view_for_test`.
        """
        self.model = model.eval()
        self.label_map = label_map
        self.short_side = short_side
        self._max_side = max_side
        self._normalise = normalise
        self._arithmetic = arithmetic

    @property
    def names(self) -> tuple[str, ...]:
        """The K class names, label 1 first."""
        return self.label_map.names

    @overload
    def predict(
        self,
        image: ImageLike,
        score_threshold: float | None = None,
        max_detections: int | None = None,
        tta: TTA | None = None,
        *,
        tile: int | None = None,
        overlap: float = 0.2,
        tile_scale: float | None = None,
        progress: Progress | None = None,
    ) -> Result: ...
    @overload
    def predict(
        self,
        image: ImageList,
        score_threshold: float | None = None,
        max_detections: int | None = None,
        tta: TTA | None = None,
        *,
        tile: int | None = None,
        overlap: float = 0.2,
        tile_scale: float | None = None,
        progress: Progress | None = None,
    ) -> list[Result]: ...
    def predict(
        self,
        image: ImageLike | ImageList,
        score_threshold: float | None = None,
        max_detections: int | None = None,
        tta: TTA | None = None,
        *,
        tile: int | None = None,
        overlap: float = 0.2,
        tile_scale: float | None = None,
        progress: Progress | None = None,
    ) -> Result | list[Result]:
        """Find the objects of a picture, or of each picture of a list.

        Pictures go through the network one by one, so that a result never depends on its neighbours.

        Args:
            image: a picture, or a list of them.
            score_threshold: detections score above it; by default the model's own.
            max_detections: best detections of a picture, or of a tile, that are kept; by default the model's own.
            tta: test-time augmentation, as `panet.TTA()`; by default none.
            tile: side in px of the tiles in which a larger picture is looked at; by default none is.
            overlap: share of the side that neighbouring tiles have in common at least, above 0 to 0.5.
            tile_scale: input px for an image px of a tile; by default as for a picture of the tile's size, but at least
                1: a tile is not reduced.
            progress: told how many tiles of a picture are done.
        Returns:
            A result for a picture, a list for a list.

        Raises:
            DataError: a picture cannot be read, or an array is no (H, W, 3) uint8.
            ConfigError: a threshold, a tile, an overlap or a scale is out of its range, a number of detections below
                1, `tta` something else or together with tiles.
        """
        tiling = None if tile is None else Tiling(tile, overlap, tile_scale)
        if tiling is not None and tta is not None:
            raise ConfigError("tile and tta: tiles are not augmented: choose one of the two")
        with self._limits(score_threshold, max_detections, tta), torch.inference_mode():
            if isinstance(image, list | tuple):
                return [self._predict_one(each, tta, tiling, progress) for each in image]
            return self._predict_one(image, tta, tiling, progress)

    def _predict_one(
        self, image: ImageLike, tta: TTA | None, tiling: Tiling | None, progress: Progress | None
    ) -> Result:
        source = str(image) if isinstance(image, str | Path) else ""
        if tiling is None:
            return self._predict_pixels(_read(image), tta, source)
        with open_windows(image) as picture:
            if max(picture.size) <= tiling.side:
                return self._predict_pixels(picture.read(Tile(0, 0, *picture.size)), tta, source)
            scale = tiling.scale or max(1.0, min(self.short_side, self._max_side) / tiling.side)
            most = self.model.detection_rule.max_detections
            found = find_by_tiles(picture, tiling, lambda pixels: self._detect(pixels, scale), most, progress)
            large = LargeImage(image, picture.size)
            return Result(large, found.detections, self.label_map, source, found.masks, found.num_full)

    def _predict_pixels(self, pixels: Tensor, tta: TTA | None, source: str) -> Result:
        found = self._detect(pixels) if tta is None else self._detect_views(pixels, tta)
        picture = pixels.permute(1, 2, 0).contiguous().numpy()
        return Result(picture, found.to(torch.device("cpu")), self.label_map, source)

    def _detect(self, pixels: Tensor, scale: float | None = None) -> Detections:
        """Give the detections of (3, H0, W0) uint8, image px; seen at a scale, or as the model sees such a picture."""
        original_size: Size = int(pixels.shape[1]), int(pixels.shape[2])
        view = (
            view_for_test(original_size, self.short_side, self._max_side, self._arithmetic)
            if scale is None
            else view_at_scale(original_size, scale, self._arithmetic)
        )
        batch = make_image_batch(
            [apply_view(pixels, view)], [original_size], self._normalise, [view.factor], [view.late_size]
        )
        (found,) = self.model(batch.to(self._device))
        return to_image(found, batch.sizes[0], original_size, view.factor)

    def _detect_views(self, pixels: Tensor, tta: TTA) -> Detections:
        maker = ViewMaker(tta, self.short_side, self._max_side, self._normalise, self._arithmetic)
        return detect_views(self.model, maker(pixels).to(self._device))

    @property
    def _device(self) -> torch.device:
        return next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))

    @contextmanager
    def _limits(self, score_threshold: float | None, max_detections: int | None, tta: TTA | None) -> Iterator[None]:
        """Change the model's detection rule for a while."""
        rule = self.model.detection_rule
        changes: dict[str, Any] = {}
        if score_threshold is not None:
            if not 0 <= score_threshold <= 1:
                raise ConfigError(f"score threshold: {score_threshold}: expected a number from 0 to 1")
            changes["score_threshold"] = score_threshold
            if tta is not None:  # what is not shown has a vote all the same; what loses its score is not shown
                changes |= {"score_threshold": min(score_threshold, rule.score_threshold), "min_score": score_threshold}
        if max_detections is not None:
            if max_detections < 1:
                raise ConfigError(f"detections a picture: {max_detections}: expected at least 1")
            changes["max_detections"] = max_detections
        if tta is not None:
            if not isinstance(tta, TTA):
                raise ConfigError(f"tta: {tta!r}: expected panet.TTA(), or None for no augmentation")
            changes |= {"soft_nms": tta.soft_nms, "box_voting": tta.box_voting}
        self.model.detection_rule = replace(rule, **changes)
        try:
            yield
        finally:
            self.model.detection_rule = rule

    def __repr__(self) -> str:
        names = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
        return f"Predictor({len(self.names)} classes: {names})"


def _read_opened(image: Image.Image) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transparency: the colour under it is what counts
            return to_pixels(image, "picture")
    except (OSError, SyntaxError, ValueError) as error:  # of a file that Pillow has opened, but not yet read
        raise DataError(f"PIL picture of mode {image.mode}: cannot be read: {error}") from error


def _read(image: ImageLike) -> Tensor:
    """Give (3, H, W) uint8 RGB."""
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        return _read_opened(image)
    if not isinstance(image, np.ndarray):
        raise DataError(f"a {type(image).__name__} is no picture: expected a file, a PIL picture or an array")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise DataError(f"array of {image.dtype} {image.shape}: expected uint8 (height, width, 3), RGB")
    return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1)  # a copy: the result keeps it
