"""Pooling against torchvision's RoIAlign, and the laws of it."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from panet.ops import native
from panet.ops.roi_align import assigned_levels, pool_all_levels, pool_assigned_level

EDGE_BOXES = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.0],  # empty
        [-90.0, -80.0, -40.0, -30.0],  # outside
        [300.0, 300.0, 400.0, 400.0],
        [5.0, 5.0, 5.001, 5.001],  # 1e-3 px
        [0.0, 0.0, 96.0, 64.0],  # the whole picture
        [-20.0, 10.0, 30.0, 90.0],  # half outside
        [40.0, 40.0, 10.0, 10.0],  # the wrong way round
    ]
)


def pyramid(seed, batch=2, channels=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(batch, channels, 64 >> k, 96 >> k, generator=generator, dtype=dtype) for k in (2, 3, 4, 5)}


def random_boxes(seed, count, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 4, generator=generator, dtype=dtype) * torch.tensor([96, 64, 96, 64], dtype=dtype)
    return torch.cat((corners[:, :2].minimum(corners[:, 2:]), corners[:, :2].maximum(corners[:, 2:])), dim=1)


@pytest.fixture(params=["compiled", "fallback"])
def way(request, monkeypatch):
    """Pool by the compiled kernel, then without it."""
    if request.param == "fallback":
        monkeypatch.setattr(native, "LIBRARY", None)
    elif native.LIBRARY is None:
        pytest.skip(f"no compiled kernels: {native.PROBLEM}")


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 999),
    size=st.integers(1, 14),
    samples=st.integers(0, 3),
    aligned=st.booleans(),
    channels=st.sampled_from((1, 3, 16, 130)),
    counts=st.tuples(*[st.integers(0, 6)] * 2),
)
def test_pooling_equals_torchvision_with_values_and_gradients(way, seed, size, samples, aligned, channels, counts):
    boxes = [torch.cat((random_boxes(seed + i, count), EDGE_BOXES)) for i, count in enumerate(counts)]
    ours, theirs = ({k: x.requires_grad_() for k, x in pyramid(seed, channels=channels).items()} for _ in range(2))
    grids = pool_all_levels(ours, boxes, size, samples, aligned=aligned)
    weights = {k: torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)) for k, x in grids.items()}
    gradients = torch.autograd.grad(list(grids.values()), list(ours.values()), list(weights.values()))
    for gradient, (k, feature) in zip(gradients, theirs.items(), strict=True):
        expected = roi_align(feature, boxes, size, 2.0**-k, samples, aligned=aligned)
        torch.testing.assert_close(grids[k], expected, rtol=0, atol=1e-5)
        (expected_gradient,) = torch.autograd.grad(expected, feature, weights[k])
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-4)


def test_the_gradient_is_right_in_double_precision():
    boxes = [random_boxes(0, 3, torch.float64)]
    feature = pyramid(0, batch=1, channels=2, dtype=torch.float64)[3].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool_all_levels({3: x}, boxes, 3, 2)[3], (feature,))


def test_no_boxes_give_shaped_empties(way):
    grids = pool_all_levels(pyramid(0), [torch.zeros(0, 4)] * 2, 7, 2)
    assert {k: tuple(grid.shape) for k, grid in grids.items()} == dict.fromkeys((2, 3, 4, 5), (0, 3, 7, 7))
    assert pool_assigned_level(pyramid(0), [torch.zeros(0, 4)] * 2, 7, 2).shape == (0, 3, 7, 7)


def test_a_constant_pyramid_pools_to_the_constant(way):
    constant = {k: torch.full_like(x, 2.5) for k, x in pyramid(0).items()}
    # One feature pixel at stride 32 must fit between box and edge: a RoI is never smaller than that.
    for grid in pool_all_levels(constant, [random_boxes(1, 5) * 0.5] * 2, 7, 2).values():
        torch.testing.assert_close(grid, torch.full_like(grid, 2.5))


def test_roi_order_in_is_roi_order_out(way):
    boxes, order = random_boxes(3, 6), torch.tensor([3, 1, 5, 0, 2, 4])
    n = {k: x[:1] for k, x in pyramid(3).items()}
    for k, grid in pool_all_levels(n, [boxes], 7, 2).items():
        torch.testing.assert_close(pool_all_levels(n, [boxes[order]], 7, 2)[k], grid[order])


@pytest.mark.parametrize(
    ("side", "level"), [(1, 2), (111, 2), (112, 3), (223, 3), (224, 4), (447, 4), (448, 5), (4000, 5)]
)
def test_a_box_of_224_px_belongs_to_level_4_and_each_doubling_is_one_more(side, level):
    assert assigned_levels(torch.tensor([[10.0, 10.0, 10.0 + side, 10.0 + side]]), 2, 5).tolist() == [level]


def test_a_roi_is_pooled_from_the_level_that_its_area_assigns(way):
    n, small, large = pyramid(5, batch=1), [2.0, 3.0, 40.0, 50.0], [0.0, 0.0, 400.0, 300.0]
    boxes = torch.tensor([large, small])
    assigned = pool_assigned_level(n, [boxes], 7, 2)
    every = pool_all_levels(n, [boxes], 7, 2)
    torch.testing.assert_close(assigned, torch.stack((every[4][0], every[2][1])))
