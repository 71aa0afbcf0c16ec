"""The compiled pooling: precision, determinism, memory, what torch knows of it. Equality is a property test."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from panet.ops import native
from panet.ops.native_pooling import can_pool, pool_levels
from panet.ops.roi_align import pool_all_levels, pool_assigned_level

pytestmark = pytest.mark.skipif(native.LIBRARY is None, reason=f"no compiled kernels: {native.PROBLEM}")

SCALES = [0.25, 0.125, 0.0625, 0.03125]
LEVELS = (2, 3, 4, 5)


def pyramid(channels: int = 80, dtype: torch.dtype = torch.float32) -> dict[int, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(2, channels, 128 >> k, 160 >> k, generator=generator).to(dtype) for k in LEVELS}


def boxes(count: int = 40, seed: int = 1) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([160.0, 128.0])
    return torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)


def gradients(n: dict[int, Tensor]) -> list[Tensor]:
    n = {k: x.clone().requires_grad_() for k, x in n.items()}
    grids = pool_all_levels(n, [boxes(), boxes(30, seed=2)], 7, 2)
    weights = [torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).to(x.dtype) for x in grids.values()]
    return list(torch.autograd.grad(list(grids.values()), list(n.values()), weights))


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_no_rois_give_a_gradient_of_zeros() -> None:
    n = {k: x.requires_grad_() for k, x in pyramid(3).items()}
    grids = pool_all_levels(n, [torch.zeros(0, 4)] * 2, 7, 2)
    sum(grid.sum() for grid in grids.values()).backward()
    assert all(torch.equal(x.grad, torch.zeros_like(x)) for x in n.values())


def test_gradients_equal_those_of_double_precision() -> None:
    precise = {k: x.double() for k, x in pyramid().items()}
    assert not can_pool(list(precise.values()))
    for ours, expected in zip(gradients(pyramid()), gradients(precise), strict=True):
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-4)


def test_gradients_are_the_same_bits_in_every_run_and_on_any_number_of_threads(restored_threads: None) -> None:
    first = gradients(pyramid())
    for num_threads in (1, 2, 3, 5):
        torch.set_num_threads(num_threads)
        assert all(torch.equal(a, b) for a, b in zip(first, gradients(pyramid()), strict=True)), num_threads


def test_bfloat16_is_rounded_once_at_the_end() -> None:
    n = pyramid(dtype=torch.bfloat16)
    for k, grid in pool_all_levels(n, [boxes(), boxes(seed=2)], 7, 2).items():
        assert grid.dtype == torch.bfloat16
        expected = roi_align(n[k].float(), [boxes(), boxes(seed=2)], 7, 2.0**-k, 2)
        # Half a unit of bfloat16's last place, and float32's own rounding.
        torch.testing.assert_close(grid.float(), expected, rtol=2**-8, atol=1e-6)


def test_gradients_of_bfloat16_are_summed_in_float32() -> None:
    n = pyramid(dtype=torch.bfloat16)
    for ours, expected in zip(gradients(n), gradients({k: x.float() for k, x in n.items()}), strict=True):
        assert ours.dtype == torch.bfloat16
        # The weights of the sums were rounded to bfloat16: 2**-9 of each of up to 300 terms.
        torch.testing.assert_close(ours.float(), expected, rtol=2**-7, atol=0.15)


def test_a_value_that_is_no_number_stays_one_in_bfloat16() -> None:
    n = {2: torch.full((1, 16, 8, 8), float("nan"), dtype=torch.bfloat16)}
    assert pool_all_levels(n, [torch.tensor([[0.0, 0.0, 32.0, 32.0]])], 7, 2)[2].isnan().all()


def test_grids_lie_in_channels_last_memory_whatever_the_features_lie_in() -> None:
    n = pyramid()
    turned = {k: x.contiguous(memory_format=torch.channels_last) for k, x in n.items()}
    for k, grid in pool_all_levels(n, [boxes()] * 2, 7, 2).items():
        assert grid.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(grid, pool_all_levels(turned, [boxes()] * 2, 7, 2)[k])


@pytest.mark.parametrize("row", [[2.0, 0, 0, 9, 9], [-1.0, 0, 0, 9, 9], [float("nan"), 0, 0, 9, 9]])
def test_a_roi_of_a_picture_that_is_not_there_reads_nothing(row: list[float]) -> None:
    grids = pool_levels(list(pyramid().values()), torch.tensor([row]), None, SCALES, 7, 2, False)
    assert all(not grid.any() for grid in grids)


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("corner", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_corners_that_are_no_place_read_nothing_beyond_the_map(corner: float, samples: int) -> None:
    n = {k: torch.ones_like(x).requires_grad_() for k, x in pyramid(16).items()}
    grids = pool_all_levels(n, [torch.tensor([[1.0, 2.0, corner, 9.0]])] * 2, 7, samples)
    assert all(grid.isfinite().all() and grid.max() <= 1.0001 for grid in grids.values())
    sum(grid.sum() for grid in grids.values()).backward()
    assert all(x.grad.isfinite().all() for x in n.values())


def test_only_levels_that_were_used_get_a_gradient() -> None:
    n = {k: x.requires_grad_() for k, x in pyramid(3).items()}
    pool_all_levels(n, [boxes(), boxes()], 7, 2)[3].sum().backward()
    assert [k for k, x in n.items() if x.grad is not None] == [3]


def test_the_assigned_level_gets_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    of_each = torch.tensor([[-300.0, -300, 300, 300], [5, 5, 30, 30], [0, 0, 160, 128], [0, 0, 300, 300]])
    found = []
    for library in (native.LIBRARY, None):
        monkeypatch.setattr(native, "LIBRARY", library)
        n = {k: x.requires_grad_() for k, x in pyramid(3).items()}
        grids = pool_assigned_level(n, [of_each, boxes(5)], 7, 2)
        grids.square().sum().backward()
        found.append((grids, *(x.grad for x in n.values())))
    for ours, expected in zip(*found, strict=True):
        assert ours.any()
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the check reads it where there is none
@pytest.mark.parametrize("assigned", [False, True])
def test_torch_finds_nothing_wrong_with_the_operator(assigned: bool) -> None:
    features = [x[:, :, :6, :5].clone().requires_grad_() for x in pyramid(8).values()][:2]
    rois = torch.cat((torch.zeros(3, 1), boxes(3)), dim=1)
    level_of = torch.tensor([0, 1, 1]) if assigned else None
    torch.library.opcheck(pool_levels, (features, rois, level_of, SCALES[:2], 3, 2, False))


def test_a_graph_of_torch_compile_holds_the_operator() -> None:
    n = pyramid(4)
    pool = torch.compile(lambda n, boxes: pool_all_levels(n, [boxes, boxes], 7, 2), fullgraph=True, backend="aot_eager")
    for k, grid in pool(n, boxes()).items():
        assert torch.equal(grid, pool_all_levels(n, [boxes(), boxes()], 7, 2)[k])


def test_under_autocast_the_features_type_stays() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for dtype in (torch.float32, torch.bfloat16):
            assert pool_all_levels(pyramid(3, dtype), [boxes(), boxes()], 7, 2)[2].dtype == dtype


def test_levels_of_two_types_go_another_way() -> None:
    n = pyramid(3)
    n[2] = n[2].bfloat16()
    assert not can_pool(list(n.values()))
    assert pool_all_levels(n, [boxes(), boxes()], 7, 2)[2].dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [16, 40, 3])
def test_grids_for_a_linear_layer_are_the_same_bits_and_so_are_their_gradients(
    channels: int, dtype: torch.dtype
) -> None:
    found = []
    for channels_first in (False, True):
        n = {k: x.to(dtype).requires_grad_() for k, x in pyramid(channels).items()}
        grids = pool_all_levels(n, [boxes(), boxes(5, seed=2)], 7, 2, channels_first=channels_first)
        rows = [grid.flatten(1) for grid in grids.values()]
        assert channels_first == all(
            row.data_ptr() == grid.data_ptr() for row, grid in zip(rows, grids.values(), strict=True)
        )
        weights = torch.linspace(-1, 1, rows[0].shape[1], dtype=dtype)
        sum((row * weights).sum() for row in rows).backward()
        found.append((*rows, *(x.grad for x in n.values())))
    for last, first in zip(*found, strict=True):
        assert last.any()
        assert torch.equal(last, first)
