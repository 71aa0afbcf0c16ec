"""The bundled model on a real picture: with tiles it finds what it finds without, the objects on seams once."""

import numpy as np
import pytest
from hotcoco import mask as mask_ops

import panet
from panet.ops import rle
from panet.predict.bundled import demo_pictures
from panet.predict.tiling import Tiling

TILE = 256


@pytest.mark.slow
def test_nuclei_on_seams_are_found_once() -> None:
    (path,) = (picture.path for picture in demo_pictures() if picture.path.name == "img2d.tif")
    predictor = panet.load("bundled", device="cpu")
    whole = predictor.predict(path, 0.5)
    tiled = predictor.predict(path, 0.5, tile=TILE, overlap=0.2, tile_scale=1.0)  # the scale of the whole one
    assert whole.masks is not None
    assert tiled.masks is not None
    assert whole.size == (512, 512)
    assert len(whole) > 100
    truth, found = whole.masks.to_rle(), tiled.masks.to_rle()
    overlaps = np.array(mask_ops.iou([{**mask} for mask in truth], [{**mask} for mask in found], [0] * len(found)))
    edges = {edge for tile in Tiling(TILE).cut(whole.size) for edge in tile.box} - {0, 512}
    boxes = [rle.to_box(mask) for mask in truth]
    seams = [any(x1 < edge < x2 or y1 < edge < y2 for edge in edges) for x1, y1, x2, y2 in boxes]
    num_hits = (overlaps >= 0.5).sum(axis=1)
    assert sum(seams) > 20
    assert (num_hits[seams] == 1).mean() > 0.9
    assert num_hits[seams].max() == 1
    assert overlaps.max(axis=1)[seams].mean() > 0.85
    assert abs(len(tiled) - len(whole)) <= 0.05 * len(whole)
