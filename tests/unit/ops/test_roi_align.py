"""Pooling as Detectron2 and mmdetection do it: shifted by half a pixel, sampled by the RoI's size."""

import pytest
import torch
from torchvision.ops import roi_align

from panet.ops.anchors import cell_anchors
from panet.ops.roi_align import pool_all_levels, pool_assigned_level

BOXES = torch.tensor([[3.0, 5.0, 61.0, 40.0], [10.0, 10.0, 10.5, 10.25], [-9.0, 0.0, 90.0, 64.0], [1.0, 1.0, 1.0, 1.0]])


def pyramid() -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(1, 3, 64 >> k, 96 >> k, generator=generator) for k in (2, 3, 4, 5)}


@pytest.mark.parametrize(("samples", "aligned"), [(0, True), (0, False), (2, True)])
def test_pooling_equals_torchvisions(samples: int, aligned: bool) -> None:
    n = pyramid()
    pooled = pool_all_levels(n, [BOXES], 7, samples, aligned=aligned)
    for k in n:
        torch.testing.assert_close(pooled[k], roi_align(n[k], [BOXES], 7, 2.0**-k, samples, aligned))


def test_the_assigned_level_is_pooled_in_the_same_way() -> None:
    n = pyramid()
    torch.testing.assert_close(
        pool_assigned_level(n, [BOXES], 7, 0, aligned=True), roi_align(n[2], [BOXES], 7, 0.25, 0, aligned=True)
    )


def test_anchors_that_are_not_rounded_have_exactly_the_area_asked_for() -> None:
    anchors = cell_anchors((32,), (0.5, 1.0, 2.0), rounded=False)
    sides = anchors[:, 2:] - anchors[:, :2]
    torch.testing.assert_close(sides.prod(dim=1), torch.full((3,), 1024.0))
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1.0, 2.0]))
    assert torch.equal(anchors[1], torch.tensor([-16.0, -16.0, 16.0, 16.0]))
