"""Pictures for the logs: what is annotated beside what a model finds, on a few validation pictures."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from panet.config import ModelConfig
from panet.data.build import build_normalise
from panet.data.coco import CocoDataset
from panet.data.images import printable
from panet.errors import DataError
from panet.model.panet import PANet
from panet.ops.rle import decode_window
from panet.predict.draw import Drawn, overlay, scale_for
from panet.predict.predictor import Predictor
from panet.train.loop import Judge

__all__ = ["choose_pictures", "draw_pairs", "shown"]

_NUM_PICTURES = 3
_MOST_PIXELS = 4_000_000  # of a picture that is shown
_WIDTH = 640  # px, of each half
_MOST_HEIGHT = 1920  # px, of each half: a high and narrow picture gets no wider than that allows
_SHOWN_SCORE = 0.3


def shown(
    judge: Judge, dataset: CocoDataset, config: ModelConfig, show: Callable[[Mapping[str, NDArray[np.uint8]]], None]
) -> Judge:
    """Make a judge that shows pictures too: the same few at every evaluation."""
    indices = choose_pictures(dataset)

    def judge_and_show(model: nn.Module) -> Mapping[str, float]:
        metrics = judge(model)
        assert isinstance(model, PANet)
        show(draw_pairs(model, dataset, indices, config))
        return metrics

    return judge_and_show


def choose_pictures(dataset: CocoDataset) -> list[int]:
    """Choose a few pictures, evenly over those with objects, huge ones apart; always the same."""
    counts, areas = dataset.annotations.counts, dataset.images.sizes.prod(axis=1)
    usable = np.flatnonzero((counts > 0) & (areas <= _MOST_PIXELS)).tolist()
    step = max(1, len(usable) // _NUM_PICTURES)
    return usable[::step][:_NUM_PICTURES]


def draw_pairs(
    model: PANet, dataset: CocoDataset, indices: list[int], config: ModelConfig
) -> dict[str, NDArray[np.uint8]]:
    """Draw the annotated objects, and beside them what a model finds; its mode is as before afterwards.

    Args:
        model: on its device.
        dataset: whose pictures.
        indices: of the pictures.
        config: of the model.
    Returns: "val/<file name, printable>" -> (H, W, 3) RGB. A picture that can no longer be read is left out.
    """
    modes = [(module, module.training) for module in model.modules()]
    predictor = Predictor(
        model,
        dataset.label_map,
        short_side=config.short_side,
        max_side=config.max_side,
        normalise=build_normalise(config),
        arithmetic=config.arithmetic,
    )
    pairs: dict[str, NDArray[np.uint8]] = {}
    try:
        for index in indices:
            record = dataset.images[index]
            try:
                found = predictor.predict(record.path, score_threshold=_SHOWN_SCORE)
            except DataError:
                continue
            halves = [(_draw_truth(dataset, index, found.image), "annotated"), (found.draw(), "found")]
            pairs[f"val/{printable(record.file_name)}"] = np.hstack(
                [_half(picture, title) for picture, title in halves]
            )
    finally:
        for module, training in modes:
            module.training = training
    return pairs


def _draw_truth(dataset: CocoDataset, index: int, image: NDArray[np.uint8]) -> Image.Image:
    objects = dataset.annotations[index]
    factor = scale_for(image.shape[:2])
    drawn: list[Drawn] = []
    for label, box, mask in zip(objects.labels.tolist(), objects.boxes.tolist(), objects.masks, strict=True):
        left, top, right, bottom = map(int, box)
        part = decode_window(mask, left, top, (bottom - top, right - left)).astype(bool)
        large = part.repeat(factor, axis=0).repeat(factor, axis=1)
        drawn.append(Drawn((large, left * factor, top * factor), dataset.label_map.name(label)))
    return overlay(image, drawn)


def _half(picture: Image.Image, title: str) -> NDArray[np.uint8]:
    """Bring a picture to its width, or to the most height, under a bar with a title."""
    font = ImageFont.load_default(16)
    factor = min(_WIDTH / picture.width, _MOST_HEIGHT / picture.height)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    canvas = Image.new("RGB", (_WIDTH, height + 28), "white")
    canvas.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (0, 28))
    ImageDraw.Draw(canvas).text((6, 4), title, fill="black", font=font)
    return np.asarray(canvas)
