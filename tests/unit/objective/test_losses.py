"""Each loss by values worked out by hand, and its gradient by finite differences."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from panet.objective.box_loss import box_loss, class_loss
from panet.objective.mask_loss import mask_loss
from panet.objective.rpn_loss import AnchorTargets, objectness_loss, rpn_box_loss


def anchors(positive, negative, deltas=None):
    deltas = torch.zeros(len(positive), 4) if deltas is None else deltas
    return AnchorTargets(torch.tensor(positive, dtype=torch.int64), torch.tensor(negative, dtype=torch.int64), deltas)


def smooth_l1(x, beta):
    return 0.5 * x * x / beta if abs(x) < beta else abs(x) - 0.5 * beta


def test_without_anchors_the_rpn_losses_are_zeros_with_a_gradient():
    logits, deltas = torch.ones(2, 5, requires_grad=True), torch.ones(2, 5, 4, requires_grad=True)
    nothing = [anchors([], [])] * 2
    losses = objectness_loss(logits, nothing, 8), rpn_box_loss(deltas, nothing)
    assert [loss.item() for loss in losses] == [0, 0]
    torch.stack(losses).sum().backward()
    assert not logits.grad.any()
    assert not deltas.grad.any()


def test_objectness_is_divided_by_the_number_of_samples_asked_for_not_drawn():
    logits = torch.tensor([[0.0, 2.0, 5.0], [-1.0, 0.0, 5.0]])
    # -log sigmoid(x) of a positive, -log sigmoid(-x) of a negative; the third anchor takes no part.
    expected = math.log(2) + math.log1p(math.exp(2)) + math.log1p(math.exp(-1))
    found = objectness_loss(logits, [anchors([0], [1]), anchors([], [0])], 8)
    assert found.item() == pytest.approx(expected / (8 * 2))


def test_a_sure_and_right_rpn_has_no_loss_and_a_wrong_one_pays_for_each_anchor():
    logits = torch.tensor([[30.0, -30.0]])
    assert objectness_loss(logits, [anchors([0], [1])], 2).item() < 1e-12
    assert objectness_loss(-logits, [anchors([0], [1])], 2).item() == pytest.approx(30)


def test_the_rpns_box_loss_is_divided_by_the_anchors_of_each_picture():
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 1] = torch.tensor([0.05, -0.5, 2.0, 0.0])
    deltas[1, 0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    targets = [anchors([1], [0, 2]), anchors([0], [], torch.tensor([[0.0, 0.0, 0.0, 0.4]]))]
    beta = 1 / 9
    first = sum(smooth_l1(x, beta) for x in (0.05, 0.5, 2.0)) / 3
    second = sum(smooth_l1(x, beta) for x in (1.0, 0.4)) / 1
    assert rpn_box_loss(deltas, targets).item() == pytest.approx((first + second) / 2)
    wide = rpn_box_loss(deltas, [*targets[:1], anchors([], [0])], beta=1.0).item()
    assert wide == pytest.approx(sum(smooth_l1(x, 1.0) for x in (0.05, 0.5, 2.0)) / 3 / 2)


def test_the_class_loss_is_the_mean_over_all_rois_background_included():
    logits = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]]).log()
    assert class_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(-(math.log(0.7) + math.log(0.5)) / 2)


def test_without_positives_the_box_loss_is_a_zero_with_a_gradient():
    deltas = torch.ones(2, 3, 4, requires_grad=True)
    loss = box_loss(deltas, torch.tensor([0, 0]), torch.zeros(0, 4))
    loss.backward()
    assert loss.item() == 0
    assert not deltas.grad.any()


def test_the_box_loss_reads_the_class_of_each_positive_and_counts_every_roi():
    deltas = torch.full((3, 3, 4), 100.0)  # of other classes and of the background: not read
    deltas[1, 2] = torch.tensor([0.1, 0.0, 1.0, 0.0])
    deltas[2, 1] = torch.tensor([0.0, 0.0, 0.0, 2.0])
    targets = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]])
    expected = (smooth_l1(0.1, 1 / 3) + smooth_l1(1.0, 1 / 3) + smooth_l1(1.0, 1 / 3)) / 3
    assert box_loss(deltas, torch.tensor([0, 2, 1]), targets).item() == pytest.approx(expected)


def test_without_rois_the_mask_loss_is_a_zero_with_a_gradient():
    logits = torch.ones(0, 3, 2, 2, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, 2))
    loss.backward()
    assert loss.item() == 0


def test_the_mask_loss_is_the_mean_over_cells_of_the_own_class():
    logits = torch.full((2, 3, 1, 2), 50.0)
    logits[0, 2] = torch.tensor([[0.0, 2.0]])
    logits[1, 1] = torch.tensor([[-1.0, 3.0]])
    targets = torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]])
    expected = [math.log(2), math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log1p(math.exp(3))]
    assert mask_loss(logits, torch.tensor([2, 1]), targets).item() == pytest.approx(sum(expected) / 4)


def test_half_precision_logits_are_judged_in_single_precision():
    logits = torch.randn(4, 3).bfloat16()
    labels = torch.tensor([0, 1, 2, 0])
    assert class_loss(logits, labels).dtype == torch.float32
    assert mask_loss(torch.randn(2, 3, 2, 2).bfloat16(), labels[1:3], torch.zeros(2, 2, 2)).dtype == torch.float32
    assert box_loss(torch.randn(4, 3, 4).bfloat16(), labels, torch.zeros(2, 4)).dtype == torch.float32


def finite_differences(loss, x, step=1e-2):
    """The losses work in single precision: compare with wide central differences instead of `gradcheck`."""
    (gradient,) = torch.autograd.grad(loss(x), x)
    expected = torch.zeros_like(x)
    for i in range(x.numel()):
        shift = torch.zeros_like(x)
        shift.view(-1)[i] = step
        with torch.no_grad():
            expected.view(-1)[i] = (loss(x + shift).double() - loss(x - shift).double()) / (2 * step)
    torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=2e-3)


def test_gradients_equal_finite_differences():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels, targets = torch.tensor([0, 2, 1]), draw(2, 4).float()
    chosen = [anchors([1, 2], [0], draw(2, 4).float()), anchors([], [3])]
    finite_differences(lambda x: class_loss(x, labels), draw(3, 3).requires_grad_())
    finite_differences(lambda x: box_loss(x, labels, targets), draw(3, 3, 4).requires_grad_())
    finite_differences(lambda x: rpn_box_loss(x, chosen), draw(2, 4, 4).requires_grad_())
    finite_differences(lambda x: objectness_loss(x, chosen, 4), draw(2, 4).requires_grad_())
    cells = (draw(2, 2, 2) > 0).float()
    finite_differences(lambda x: mask_loss(x, labels[1:], cells), draw(2, 3, 2, 2).requires_grad_())


def test_gradients_hold_in_double_precision_where_nothing_is_cast(monkeypatch):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    monkeypatch.setattr(torch.Tensor, "float", lambda x: x)
    labels, targets, cells = torch.tensor([0, 2, 1]), draw(2, 4), (draw(2, 2, 2) > 0).double()
    chosen = [anchors([1, 2], [0], draw(2, 4)), anchors([], [3])]
    assert gradcheck(lambda x: box_loss(x, labels, targets), draw(3, 3, 4).requires_grad_())
    assert gradcheck(lambda x: rpn_box_loss(x, chosen), draw(2, 4, 4).requires_grad_())
    assert gradcheck(lambda x: mask_loss(x, labels[1:], cells), draw(2, 3, 2, 2).requires_grad_())
