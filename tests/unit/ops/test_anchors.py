"""Anchors against the official values (Detectron's, listed level by level) and torchvision's generator."""

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from panet.ops.anchors import cell_anchors, grid_anchors, legacy_cell_anchors

RATIOS = (0.5, 1.0, 2.0)

# Those of the official code for stride, size: ratios 0.5, 1, 2.
OFFICIAL = {
    (4, 32): [[-22, -10, 25, 13], [-14, -14, 17, 17], [-10, -22, 13, 25]],
    (8, 64): [[-40, -20, 47, 27], [-28, -28, 35, 35], [-20, -44, 27, 51]],
    (16, 128): [[-84, -40, 99, 55], [-56, -56, 71, 71], [-36, -80, 51, 95]],
    (32, 256): [[-164, -72, 195, 103], [-112, -112, 143, 143], [-76, -168, 107, 199]],
    (64, 512): [[-332, -152, 395, 215], [-224, -224, 287, 287], [-148, -328, 211, 391]],
}


@pytest.mark.parametrize(("stride", "size"), OFFICIAL)
def test_legacy_anchors_are_the_official_ones(stride, size):
    assert legacy_cell_anchors(stride, [size], RATIOS).tolist() == OFFICIAL[stride, size]


def test_anchors_of_a_cell_are_rounded_halves_around_0():
    # 32 px: sides 45.25 x 22.63, 32 x 32, 22.63 x 45.25; halves rounded.
    assert cell_anchors([32], RATIOS).tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]


def test_all_sizes_of_a_ratio_come_before_the_next_ratio():
    assert cell_anchors([8, 16], [1.0, 4.0])[:, 2:].tolist() == [[4, 4], [8, 8], [2, 8], [4, 16]]


def test_a_map_without_cells_has_no_anchors():
    assert grid_anchors(cell_anchors([32], RATIOS), 0, 5, (4, 4)).shape == (0, 4)


def test_anchors_of_a_map_run_by_row_then_column_then_anchor():
    cell = torch.tensor([[-1.0, -1, 1, 1], [-2, -2, 2, 2]])
    assert grid_anchors(cell, 2, 2, (10, 4)).tolist() == [
        [-1, -1, 1, 1], [-2, -2, 2, 2], [3, -1, 5, 1], [2, -2, 6, 2],
        [-1, 9, 1, 11], [-2, 8, 2, 12], [3, 9, 5, 11], [2, 8, 6, 12],
    ]  # fmt: skip


@pytest.mark.parametrize("sizes", [((32,), (64,), (128,)), ((20, 30), (40, 50), (77, 90))])
def test_anchors_of_all_levels_equal_torchvisions(sizes):
    grids = {2: (16, 24), 3: (8, 12), 4: (4, 6)}
    images = ImageList(torch.zeros(1, 3, 64, 96), [(64, 96)])
    maps = [torch.zeros(1, 1, *grid) for grid in grids.values()]
    (expected,) = AnchorGenerator(sizes, (RATIOS,) * 3)(images, maps)
    ours = [
        grid_anchors(cell_anchors(size, RATIOS), *grid, (2**k, 2**k))
        for (k, grid), size in zip(grids.items(), sizes, strict=True)
    ]
    assert torch.equal(torch.cat(ours), expected)
