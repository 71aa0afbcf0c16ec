"""Masks straight to COCO's RLE: the compiled way and the other draw the same bits, which pycocotools reads."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torch import Tensor

from panet.ops import native
from panet.ops.paste import masks_to_rle, paste_mask
from panet.ops.rle import Rle, encode_window

SIZE = (50, 70)
EDGE_BOXES = torch.tensor(
    [
        [3.0, 4.0, 3.0, 4.0],  # empty
        [-40.0, -30.0, -4.0, -3.0],  # outside
        [90.0, 60.0, 120.0, 80.0],
        [5.1, 5.1, 5.101, 5.101],  # no pixel centre
        [5.4, 5.4, 5.6, 5.6],  # one
        [0.0, 0.0, 70.0, 50.0],  # the whole picture
        [-500.0, -700.0, 900.0, 800.0],  # more than the picture
        [10.0, -9.0, 30.0, 90.0],  # full columns: their runs join
        [40.0, 40.0, 10.0, 10.0],  # the wrong way round
    ]
)


@pytest.fixture(params=["compiled", "fallback"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encode by the compiled kernel, then without it."""
    if request.param == "fallback":
        monkeypatch.setattr(native, "LIBRARY", None)
    elif native.LIBRARY is None:
        pytest.skip(f"no compiled kernels: {native.PROBLEM}")


def one_by_one(grids: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float, grown: bool) -> list[Rle]:
    windows = [paste_mask(*each, size, threshold, grown=grown) for each in zip(grids, boxes, strict=True)]
    return [encode_window(window.numpy(), left, top, size) for window, left, top in windows]


@pytest.mark.usefixtures("way")
def test_no_masks_are_an_empty_list() -> None:
    assert masks_to_rle(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE) == []


@pytest.mark.usefixtures("way")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 9999),
    cells=st.sampled_from((1, 2, 7, 28)),
    kind=st.sampled_from(("noise", "smooth", "steps")),
    threshold=st.sampled_from((0.5, 0.05, 0.7)),
    grown=st.booleans(),
)
def test_each_mask_is_the_pasted_one_bit_for_bit(
    seed: int, cells: int, kind: str, threshold: float, grown: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(8, 2, 2, generator=generator) * torch.tensor([90.0, 70.0]) - 10
    boxes = torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)
    boxes = torch.cat((boxes, boxes.round(), EDGE_BOXES))
    grids = torch.rand(len(boxes), cells, cells, generator=generator)
    if kind == "smooth":
        grids = (torch.nn.functional.avg_pool2d(grids, 3, stride=1, padding=1) * 9 - 4).sigmoid()
    elif kind == "steps":  # many values lie exactly on the threshold
        grids = (grids * 4).round() / 4
    pasted = one_by_one(grids, boxes, SIZE, threshold, grown)
    assert masks_to_rle(grids, boxes, SIZE, threshold, grown=grown) == pasted


@pytest.mark.usefixtures("way")
def test_the_characters_are_those_of_pycocotools() -> None:
    generator = torch.Generator().manual_seed(0)
    grids = torch.rand(len(EDGE_BOXES), 28, 28, generator=generator)
    for mask, grid, box in zip(masks_to_rle(grids, EDGE_BOXES, SIZE), grids, EDGE_BOXES, strict=True):
        window, left, top = paste_mask(grid, box, SIZE)
        whole = np.zeros(SIZE, dtype=np.uint8, order="F")
        whole[top : top + window.shape[0], left : left + window.shape[1]] = window.numpy()
        assert coco_mask.encode(whole) == {"size": list(SIZE), "counts": mask["counts"].encode()}


@pytest.mark.usefixtures("way")
def test_a_grid_that_is_the_threshold_everywhere_fills_its_box() -> None:
    boxes = torch.tensor([[0.3, 0.2, 61.7, 47.9]])
    (mask,) = masks_to_rle(torch.full((1, 28, 28), 0.7), boxes, SIZE, threshold=float(torch.tensor(0.7)))
    (full,) = masks_to_rle(torch.ones(1, 28, 28), boxes, SIZE)
    assert mask == full


@pytest.mark.usefixtures("way")
def test_masks_of_many_runs_find_room() -> None:
    grids = torch.rand(3, 100, 100, generator=torch.Generator().manual_seed(1)).round()
    boxes = torch.tensor([[0.0, 0, 400, 400]]).expand(3, 4)
    masks = masks_to_rle(grids, boxes, (400, 400))
    assert min(len(mask["counts"]) for mask in masks) > 4096
    assert masks == one_by_one(grids, boxes, (400, 400), 0.5, False)


@pytest.mark.skipif(native.LIBRARY is None, reason=f"no compiled kernels: {native.PROBLEM}")
def test_a_box_that_is_no_place_gives_an_empty_mask() -> None:
    boxes = torch.tensor([[float("nan"), 0, 9, 9], [0, 0, float("inf"), 9], [0, -float("inf"), 9, 9]])
    empty = {"size": [50, 70], "counts": coco_mask.encode(np.zeros(SIZE, np.uint8, order="F"))["counts"].decode()}
    assert masks_to_rle(torch.ones(3, 4, 4), boxes, SIZE) == [empty] * 3
