"""Losses of the RPN (Faster R-CNN, Eq. 1), with the normalisers of the released code."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

__all__ = ["AnchorTargets", "objectness_loss", "rpn_box_loss"]


class AnchorTargets(NamedTuple):
    """The anchors of one picture that train.

    Attributes:
        positive: (P,) indices into the picture's anchors.
        negative: (Q,) indices.
        deltas: (P, 4) what the positives should have given.
    """

    positive: Tensor
    negative: Tensor
    deltas: Tensor

    def renumbered(self) -> "AnchorTargets":
        """Give the same with indices into the anchors that train alone, positives first."""
        index = torch.arange(len(self.positive) + len(self.negative), device=self.positive.device)
        return AnchorTargets(index[: len(self.positive)], index[len(self.positive) :], self.deltas)


def objectness_loss(logits: Sequence[Tensor] | Tensor, targets: Sequence[AnchorTargets], num_samples: int) -> Tensor:
    """Binary cross-entropy over the sampled anchors / (num_samples * B): a fixed divisor, not the number drawn.

    Args:
        logits: B rows (N_i,) of anchors that the targets' indices point at.
        targets: B pictures'.
        num_samples: anchors that a picture may have.
    """
    losses = []
    for logit, target in zip(logits, targets, strict=True):
        chosen = logit[torch.cat((target.positive, target.negative))].float()
        truth = torch.zeros_like(chosen)
        truth[: len(target.positive)] = 1
        losses.append(binary_cross_entropy_with_logits(chosen, truth, reduction="sum"))
    return torch.stack(losses).sum() / (num_samples * len(targets))


def rpn_box_loss(deltas: Sequence[Tensor] | Tensor, targets: Sequence[AnchorTargets], beta: float = 1 / 9) -> Tensor:
    """Smooth-L1 over the positives, / the anchors sampled in their picture, / B.

    Args:
        deltas: B rows (N_i, 4).
        targets: B pictures'.
        beta: where the loss turns from square to absolute.
    """
    losses = []
    for delta, target in zip(deltas, targets, strict=True):
        num_sampled = len(target.positive) + len(target.negative)
        loss = smooth_l1_loss(delta[target.positive].float(), target.deltas, beta=beta, reduction="sum")
        losses.append(loss / max(num_sampled, 1))
    return torch.stack(losses).sum() / len(targets)
