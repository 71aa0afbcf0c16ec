"""Large pictures in tiles: every object once, at one scale, as without tiles where none are needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import panet
from panet.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, NeckConfig
from panet.data.batching import Normalise
from panet.errors import ConfigError, DataError
from panet.model.build import build_model
from panet.model.detections import DetectionRule
from panet.ops import rle
from panet.predict.predictor import Predictor
from panet.predict.result import Result
from panet.predict.tiling import Tiling
from panet.structures import TTA, Detections, ImageBatch, LabelMap
from panet.weights.checkpoint import save_model

LABELS = LabelMap((3, 90), ("fig", "date"))
SIDE = 64

Box = tuple[int, int, int, int]


class ColourFinder(nn.Module):
    """Finds the bounding rectangle of each colour but black: a fig if it has red in it, else a date.

    With a threshold, there is one colour: what has more red than it.
    """

    def __init__(self, *, masks: bool = True, threshold: int | None = None) -> None:
        super().__init__()
        self.detection_rule = DetectionRule()
        self.masks, self.threshold = masks, threshold
        self.seen: list[ImageBatch] = []

    def forward(self, images: ImageBatch) -> list[Detections]:
        self.seen.append(images)
        ((height, width),) = images.sizes
        pixels = images.tensor[0, :, :height, :width].round().long()
        codes = pixels[0] * 65536 + pixels[1] * 256 + pixels[2]
        if self.threshold is not None:
            codes = (pixels[0] > self.threshold).long() << 16
        boxes, labels = [], []
        for code in codes[codes > 0].unique().tolist():
            rows, columns = (codes == code).nonzero().T
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            labels.append(1 if code >= 65536 else 2)
        count = len(boxes)
        scores = torch.linspace(0.9, 0.5, count) if count else torch.zeros(0)
        found = Detections(
            torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            scores,
            torch.tensor(labels, dtype=torch.int64),
            torch.ones(count, 4, 4) if self.masks else None,
        )
        return [found[found.scores > self.detection_rule.score_threshold][: self.detection_rule.max_detections]]


def make_predictor(model: nn.Module, short_side: int = SIDE) -> Predictor:
    normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), bgr=False)
    return Predictor(model, LABELS, short_side=short_side, max_side=8000, normalise=normalise)  # type: ignore[arg-type]


def draw_rectangles(size: tuple[int, int], seed: int, count: int = 40) -> tuple[Any, list[tuple[str, Box]]]:
    """A picture of rectangles that touch, but do not overlap, each of a colour of its own; and what they are."""
    draw = np.random.default_rng(seed)
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    taken = np.zeros(size, dtype=bool)
    objects = []
    for number in range(1, count):
        height, width = draw.integers(1, int(draw.choice([6, 20, 120])), 2)
        top, left = draw.integers(0, size[0]), draw.integers(0, size[1])
        bottom, right = min(size[0], top + height), min(size[1], left + width)
        if taken[top:bottom, left:right].any():
            continue
        taken[top:bottom, left:right] = True
        is_fig = bool(draw.integers(2))
        pixels[top:bottom, left:right] = (number, 0, 0) if is_fig else (0, number, 0)
        objects.append(("fig" if is_fig else "date", (int(left), int(top), int(right), int(bottom))))
    return pixels, sorted(objects)


def named_boxes(result: Result) -> list[tuple[str, Box]]:
    assert result.masks is not None
    masks = result.masks.to_rle()
    for mask, box, own in zip(masks, result.boxes.tolist(), result.masks, strict=True):
        assert mask["size"] == list(result.size)
        assert list(rle.to_box(mask)) == box
        assert own.rle == mask
    return sorted((name, rle.to_box(mask)) for name, mask in zip(result.names, masks, strict=True))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("overlap", [0.1, 0.2, 0.5])
def test_every_object_is_found_once_with_its_own_mask(seed: int, overlap: float) -> None:
    pixels, objects = draw_rectangles((150, 230), seed)
    result = make_predictor(ColourFinder()).predict(pixels, tile=SIDE, overlap=overlap)
    assert named_boxes(result) == objects
    assert result.size == (150, 230)
    assert result.scores.tolist() == sorted(result.scores.tolist(), reverse=True)


def test_nothing_found_is_an_empty_result() -> None:
    result = make_predictor(ColourFinder()).predict(np.zeros((100, 100, 3), np.uint8), tile=SIDE)
    assert (len(result), result.counts, result.to_coco(), result.boxes.shape) == (0, {}, [], (0, 4))


def test_a_file_an_opened_picture_and_an_array_give_the_same(tmp_path: Path) -> None:
    pixels, objects = draw_rectangles((100, 140), 0)
    paths = [tmp_path / name for name in ("a.png", "a.tif", "a.bmp")]
    for path in paths:
        Image.fromarray(pixels).save(path)
    results = make_predictor(ColourFinder()).predict([pixels, Image.fromarray(pixels), *paths], tile=SIDE)
    assert [result.source for result in results] == ["", "", *map(str, paths)]
    for result in results:
        assert named_boxes(result) == objects
        assert np.array_equal(result.image, pixels)


def test_every_tile_is_seen_at_one_scale_that_of_a_picture_of_its_size() -> None:
    model = ColourFinder()
    predictor = make_predictor(model, short_side=128)
    predictor.predict(np.zeros((150, 230, 3), np.uint8), tile=SIDE)
    assert {images.sizes for images in model.seen} == {((128, 128),)}
    model.seen.clear()
    predictor.predict(np.zeros((20, 230, 3), np.uint8), tile=SIDE)  # its shorter side alone would become 128
    assert {images.sizes for images in model.seen} == {((40, 128),)}
    model.seen.clear()
    predictor.predict(np.zeros((150, 230, 3), np.uint8), tile=SIDE, tile_scale=0.5)
    assert {images.sizes for images in model.seen} == {((32, 32),)}


def test_a_tile_is_not_reduced_unless_that_is_wanted() -> None:
    model = ColourFinder()
    make_predictor(model, short_side=32).predict(np.zeros((150, 230, 3), np.uint8), tile=SIDE)
    assert {images.sizes for images in model.seen} == {((64, 64),)}


@pytest.mark.parametrize(("options", "factor"), [({"tile_scale": 0.5}, 0.5), ({"tile_scale": 2.0}, 2)])
def test_boxes_and_masks_come_back_to_px_of_the_picture(options: dict[str, Any], factor: float) -> None:
    """The rectangle and the tiles lie at even columns and rows, so that halving mixes no colours."""
    box = 70, 30, 110, 72
    pixels = np.zeros((150, 230, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 200
    model = ColourFinder(threshold=100)
    result = make_predictor(model).predict(pixels, tile=128, **options)
    assert model.seen[0].sizes == ((128 * factor, 128 * factor),)
    assert named_boxes(result) == [("fig", box)]


def test_tiles_are_counted() -> None:
    done: list[tuple[int, int]] = []
    pixels = np.zeros((100, 150, 3), np.uint8)
    make_predictor(ColourFinder()).predict(pixels, tile=SIDE, progress=lambda *each: done.append(each))
    assert done == [(number, 6) for number in range(1, 7)]


def test_limits_are_a_tiles() -> None:
    pixels, objects = draw_rectangles((150, 230), 1)
    predictor = make_predictor(ColourFinder())
    assert len(objects) > 12
    few = predictor.predict(pixels, tile=SIDE, max_detections=1)
    assert 0 < len(few) <= 12
    assert few.num_full_tiles >= len(few)
    assert predictor.predict(pixels, tile=SIDE).num_full_tiles == 0
    assert len(predictor.predict(pixels, 0.95, tile=SIDE)) == 0


def test_a_model_without_masks_has_its_boxes_stitched() -> None:
    pixels, objects = draw_rectangles((150, 230), 2)
    result = make_predictor(ColourFinder(masks=False)).predict(pixels, tile=SIDE)
    assert result.masks is None
    found = zip(result.names, result.boxes.tolist(), strict=True)
    assert sorted((name, tuple(map(int, box))) for name, box in found) == objects
    assert "segmentation" not in result.to_coco()[0]


def test_a_picture_of_64_million_pixels_and_more_needs_tiles(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    pixels = np.zeros((8001, 8001), np.uint8)
    pixels[7990:8001, 3000:3010] = 7
    Image.fromarray(pixels).save(path, compress_level=1)
    predictor = make_predictor(ColourFinder(), short_side=2000)
    with pytest.raises(DataError, match=r"8001 x 8001 pixels.*--tile 1024"):
        predictor.predict(path)
    result = predictor.predict(path, tile=2000)
    assert named_boxes(result) == [("fig", (3000, 7990, 3010, 8001))]
    drawn = np.asarray(result.draw())
    assert drawn.shape == (2667, 2667, 3)  # divided by 3
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2663, 2666, 1000, 1003)


def test_a_small_result_of_tiles_is_drawn_magnified() -> None:
    pixels, _ = draw_rectangles((100, 140), 4)
    result = make_predictor(ColourFinder()).predict(pixels, tile=SIDE)
    assert result.draw().size == (560, 400)
    assert result.masks is not None
    window, left, top = result.masks.window(0, (400, 560))
    x1, y1, x2, y2 = (4 * int(side) for side in result.boxes[0])
    assert (left, top, *window.shape) == (x1, y1, y2 - y1, x2 - x1)
    assert window.all()


CONFIG = ModelConfig(
    num_classes=2,
    norm="none",
    backbone=BackboneConfig(name="lcnet_035", frozen_stages=0),
    neck=NeckConfig(channels=8),
    box_head=BoxHeadConfig(kind="2fc", fc_channels=16),
    mask_head=MaskHeadConfig(channels=8),
    short_side=64,
    max_side=128,
)


@pytest.mark.parametrize("arithmetic", ["modern", "torchvision", "legacy"])
def test_a_picture_that_fits_in_a_tile_gives_what_it_gives_without(tmp_path: Path, arithmetic: str) -> None:
    config = CONFIG.model_copy(update={"arithmetic": arithmetic})
    path = tmp_path / "model.safetensors"
    save_model(path, build_model(config, seed=1, load_backbone=False).state_dict(), config, LABELS)
    predictor = panet.load(path, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    whole = predictor.predict(pixels, 0.0, 8)
    tiled = predictor.predict(pixels, 0.0, 8, tile=90)
    assert len(whole) == 8
    assert tiled.to_coco() == whole.to_coco()
    assert np.array_equal(tiled.boxes, whole.boxes)
    assert np.array_equal(tiled.image, whole.image)
    assert len(predictor.predict(pixels, 0.0, 8, tile=48)) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 31}, "tile: 31: expected a whole number of px, 32 to 8000"),
        ({"tile": 8001}, "tile: 8001: expected"),
        ({"tile": 64.0}, r"tile: 64\.0: expected"),
        ({"tile": True}, "tile: True: expected"),
        ({"tile": 64, "overlap": 0.0}, r"overlap: 0\.0: expected a share of the tile's side, above 0 to 0\.5"),
        ({"tile": 64, "overlap": 0.6}, "overlap: 0.6: expected"),
        ({"tile": 64, "overlap": float("nan")}, "overlap: nan: expected"),
        ({"tile": 64, "tile_scale": 0.1}, r"tile scale: 0\.1: a tile of 64 px becomes 6\.4 px for the network"),
        ({"tile": 64, "tile_scale": 1e9}, "tile scale: 1000000000.0: a tile of 64 px becomes 6.4e.10 px"),
        ({"tile": 64, "tile_scale": float("nan")}, "tile scale: nan"),
        ({"tile": 64, "tta": TTA()}, "tile and tta: tiles are not augmented"),
    ],
)
def test_tiles_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_predictor(ColourFinder()).predict(np.zeros((100, 100, 3), np.uint8), **options)


def test_masks_are_the_models_and_no_filled_boxes() -> None:
    class LowerHalves(ColourFinder):
        def forward(self, images: ImageBatch) -> list[Detections]:
            (found,) = super().forward(images)
            assert found.mask_grids is not None
            found.mask_grids[:, :2] = 0
            return [found]

    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[60:80, 10:30] = 7
    result = make_predictor(LowerHalves()).predict(pixels, tile=SIDE)
    assert result.masks is not None
    rows, columns = np.nonzero(result.masks[0].array)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (70, 79, 10, 29)
    assert result.boxes.tolist() == [[10, 60, 30, 80]]


def test_a_fifth_of_a_tile_is_shared_unless_told() -> None:
    assert [tile.left for tile in Tiling(100).cut((100, 180))] == [0, 80]


def test_the_least_overlap_is_a_pixel() -> None:
    assert [tile.left for tile in Tiling(32, 0.001).cut((32, 94))] == [0, 31, 62]
