"""Laws of the whole network and its necks: sizes, neighbours, modes, nothing found."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panet.config import DetectionConfig, NeckConfig, ObjectiveConfig
from panet.model.bottom_up import BottomUpPath, with_coarser_level
from panet.model.build import build_model
from panet.model.detections import to_image
from panet.model.layers import norm_factory
from panet.model.rpn import RPNHead
from panet.model.top_down import TopDownPath
from panet.objective.build import build_objective
from panet.structures import ImageBatch

LEVELS = (2, 3, 4, 5)
LAW = settings(max_examples=60, deadline=None, derandomize=True)


def half(side):
    return (side + 1) // 2


@LAW
@given(height=st.integers(1, 40), width=st.integers(1, 40), norm=st.sampled_from(["none", "group"]))
def test_the_necks_take_pyramids_of_any_size(height, width, norm):
    sizes = {2: (height, width)}
    for k in (3, 4, 5, 6):
        sizes[k] = (half(sizes[k - 1][0]), half(sizes[k - 1][1]))
    factory = norm_factory(norm, 2)
    c = {k: torch.randn(1, k, *sizes[k]) for k in LEVELS}
    with torch.inference_mode():
        p = TopDownPath({k: k for k in LEVELS}, 4, factory)(c)
        n = with_coarser_level(BottomUpPath(LEVELS, 4, factory)(p))
        output = RPNHead(4, 3)(n)
    assert {k: tuple(x.shape[-2:]) for k, x in p.items()} == {k: sizes[k] for k in LEVELS}
    assert {k: tuple(x.shape[-2:]) for k, x in n.items()} == sizes == output.grid_sizes
    assert all(n[k].min() >= 0 for k in (3, 4, 5))


@pytest.fixture(scope="module")
def model(tiny_config):
    """A network whose deltas are large enough for its detections to differ."""
    model = build_model(tiny_config()).eval()
    with torch.no_grad():
        model.rpn.objectness.weight.mul_(100)
        model.rpn.deltas.weight.mul_(10)
        model.box_head.class_logits.weight.mul_(30)
        model.box_head.deltas.weight.mul_(300)
    return model


def detect(model, tensor, size=(60, 90)):
    count = len(tensor)
    with torch.inference_mode():
        return model(ImageBatch(tensor, (size,) * count, (size,) * count))


def pixels(count, seed=0, height=64, width=96):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def same(one, other, atol):
    assert one.labels.tolist() == other.labels.tolist()
    for name in ("boxes", "scores", "mask_grids"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=atol)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (96, 32)])
def test_detections_are_shaped_sorted_and_inside_the_picture(model, height, width):
    size = (height - 5, width - 7)
    for found in detect(model, pixels(2, height=height, width=width), size):
        assert 0 < len(found) <= 100
        assert found.mask_grids.shape == (len(found), 28, 28)
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
        assert ((found.labels >= 1) & (found.labels <= 3)).all()
        assert ((found.mask_grids >= 0) & (found.mask_grids <= 1)).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= torch.tensor([size[1], size[0], size[1], size[0]])).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_train_and_eval_mode_detect_the_same(model):
    tensor = pixels(2)
    expected = detect(model.eval(), tensor)
    for one, other in zip(detect(model.train(), tensor), expected, strict=True):
        same(one, other, 0)
    model.eval()


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_two_is_two_batches_of_one(model, seed):
    tensor = pixels(2, seed).double()
    model.double()
    try:
        together = detect(model, tensor)
        for i, found in enumerate(together):
            same(found, detect(model, tensor[i : i + 1])[0], 1e-5)  # boxes and grids are single precision
            assert len(found) > 5
    finally:
        model.float()


def test_a_batch_of_two_is_two_batches_of_one_in_single_precision(model):
    tensor = pixels(2, 4)
    for i, found in enumerate(detect(model, tensor)):
        alone = detect(model, tensor[i : i + 1])[0]
        torch.testing.assert_close(found.boxes, alone.boxes, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.scores, alone.scores, rtol=0, atol=1e-5)


def test_pictures_in_another_order_have_their_detections_in_that_order(model):
    tensor, order = pixels(3, 5), [2, 0, 1]
    expected = detect(model, tensor)
    for i, found in zip(order, detect(model, tensor[order]), strict=True):
        same(found, expected[i], 1e-3)


def test_nothing_found_gives_shaped_empties_through_the_mask_head(tiny_config):
    model = build_model(tiny_config(detection=DetectionConfig(score_threshold=1.0)))
    for found in detect(model, pixels(2)):
        assert [tuple(part.shape) for part in (found.boxes, found.scores, found.labels, found.mask_grids)] == [
            (0, 4), (0,), (0,), (0, 28, 28)
        ]  # fmt: skip
        assert len(to_image(found, (60, 90), (120, 180))) == 0


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_nothing_proposed_gives_shaped_empties_too_and_no_statistic_becomes_nan(tiny_config, norm):
    model = build_model(tiny_config(norm=norm)).train()
    rule = model.proposal_rule
    model.proposal_rule = type(rule)(rule.num_before_nms, rule.num_after_nms, rule.nms_threshold, min_side=1e9)
    (found,) = detect(model, pixels(1))
    assert found.mask_grids.shape == (0, 28, 28)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_without_a_mask_head_there_are_no_grids(tiny_config):
    (found,) = detect(build_model(tiny_config(mask_head=None)), pixels(1))
    assert found.mask_grids is None
    assert len(found)


def test_with_the_bottom_up_path_off_the_heads_see_the_pyramid_of_fpn(tiny_config):
    model = build_model(tiny_config(neck=NeckConfig(channels=16, bottom_up=False))).eval()
    with torch.inference_mode():
        n, p = model.features(pixels(1)), model.top_down(model.backbone(pixels(1)))
    assert all(torch.equal(n[k], p[k]) for k in LEVELS)


def test_fine_detail_reaches_the_coarsest_level_only_through_the_bottom_up_path(tiny_config):
    for bottom_up in (True, False):
        model = build_model(tiny_config(neck=NeckConfig(channels=16, bottom_up=bottom_up)))
        n = model.features(pixels(1))
        n[5].square().sum().backward()
        reached = model.top_down.output["2"].conv.weight.grad is not None
        assert reached == bottom_up


def test_gradients_of_the_whole_objective_equal_finite_differences(tiny_config, make_batch):
    """Ten weights of the heads, where the sampled RoIs do not move with the weight."""
    config = tiny_config()
    objective = build_objective(build_model(config), ObjectiveConfig(roi_samples=16), config.rpn)
    batch, generator = make_batch(num_images=1), torch.Generator().manual_seed(0)

    def total(names):
        losses = objective(batch, torch.Generator().manual_seed(1))
        return torch.stack([losses[name].double() for name in names]).sum()

    heads = {
        objective.model.box_head.class_logits.weight: ("class",),
        objective.model.box_head.deltas.weight: ("box",),
        objective.model.box_head.shared.linear.weight: ("class", "box"),
        objective.model.mask_head.deconv.weight: ("mask",),
        objective.model.mask_head.conv4.conv.weight: ("mask",),
    }
    for weight, names in heads.items():
        (gradient,) = torch.autograd.grad(total(names), weight)
        scale = gradient.abs().max()
        for _ in range(2):
            flat = torch.randint(weight.numel(), (), generator=generator)
            place = torch.unravel_index(flat, weight.shape)  # weights lie channels last: no view is flat
            step = 1e-2
            with torch.no_grad():
                weight[place] += step
                above = total(names)
                weight[place] -= 2 * step
                below = total(names)
                weight[place] += step
            torch.testing.assert_close(
                ((above - below) / (2 * step)).float(), gradient[place], rtol=1e-2, atol=0.02 * scale.item()
            )
