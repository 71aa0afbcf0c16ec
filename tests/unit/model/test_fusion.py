"""Adaptive feature pooling, its fusion over levels, and FPN's rule in its place."""

import pytest
import torch
from torch import nn
from torchvision.ops import roi_align

from panet.model.fusion import AdaptivePooling, AssignedPooling, FuseLevels

LEVELS = (2, 3, 4, 5)
BOXES = [torch.tensor([[3.0, 4, 40, 50], [0, 0, 90, 60]]), torch.zeros(0, 4), torch.tensor([[60.0, 8, 70, 30]])]


def layer():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 2, 5), nn.ReLU())


def pyramid():
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(3, 3, 64 >> k, 96 >> k, generator=generator) for k in LEVELS}


def grids(count=4):
    generator = torch.Generator().manual_seed(1)
    return {k: torch.randn(count, 3, 2, 2, generator=generator) for k in LEVELS}


@pytest.mark.parametrize("fusion", ["max", "sum"])
def test_no_rois_fuse_to_a_shaped_empty(fusion):
    assert FuseLevels(LEVELS, layer, fusion)(grids(0)).shape == (0, 5)
    assert AdaptivePooling(LEVELS, layer, size=2, samples=2)(pyramid(), [torch.zeros(0, 4)] * 3).shape == (0, 5)
    assert AssignedPooling(layer, size=2, samples=2)(pyramid(), [torch.zeros(0, 4)] * 3).shape == (0, 5)


def test_each_level_has_weights_of_its_own():
    fuse = FuseLevels(LEVELS, layer)
    assert sorted(fuse.adapt) == ["2", "3", "4", "5"]
    weights = [fuse.adapt[str(k)][1].weight for k in LEVELS]
    assert all(not torch.equal(weights[0], other) for other in weights[1:])


def test_fusion_is_the_largest_or_the_sum_over_levels():
    for fusion, reduce in (("max", lambda x: x.amax(dim=0)), ("sum", lambda x: x.sum(dim=0))):
        fuse, x = FuseLevels(LEVELS, layer, fusion), grids()
        expected = reduce(torch.stack([fuse.adapt[str(k)](x[k]) for k in LEVELS]))
        torch.testing.assert_close(fuse(x), expected)


@pytest.mark.parametrize("fusion", ["max", "sum"])
def test_the_order_of_the_levels_does_not_matter(fusion):
    fuse, x = FuseLevels(LEVELS, layer, fusion), grids()
    torch.testing.assert_close(fuse(x), fuse({k: x[k] for k in (4, 2, 5, 3)}), rtol=0, atol=1e-6)


@pytest.mark.parametrize("fusion", ["max", "sum"])
def test_adaptive_pooling_is_four_roialigns_each_with_its_layer(fusion):
    pooling, n = AdaptivePooling(LEVELS, layer, size=2, samples=2, fusion=fusion), pyramid()
    levels = torch.stack(
        [pooling.fuse.adapt[str(k)](roi_align(n[k], BOXES, 2, 2.0**-k, 2, aligned=False)) for k in LEVELS]
    )
    expected = levels.amax(dim=0) if fusion == "max" else levels.sum(dim=0)
    torch.testing.assert_close(pooling(n, BOXES), expected, rtol=0, atol=1e-5)


def test_assigned_pooling_reads_one_level_and_keeps_the_order_of_the_rois():
    pooling, n = AssignedPooling(layer, size=2, samples=2), pyramid()
    boxes = [torch.tensor([[0.0, 0, 250, 250], [3, 4, 40, 50], [0, 0, 120, 120]]), BOXES[1], BOXES[2]]
    expected = [
        pooling.layer(roi_align(n[k], [boxes[0][i : i + 1], *[torch.zeros(0, 4)] * 2], 2, 2.0**-k, 2, aligned=False))
        for i, k in enumerate((4, 2, 3))
    ]
    torch.testing.assert_close(pooling(n, boxes)[:3], torch.cat(expected), rtol=0, atol=1e-5)


def test_assigned_pooling_has_one_layer_for_all_levels():
    pooling = AssignedPooling(layer, size=2, samples=2)
    assert [name for name, _ in pooling.named_parameters()] == ["layer.1.weight", "layer.1.bias"]
