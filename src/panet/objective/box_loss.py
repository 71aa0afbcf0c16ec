"""Losses of the box head (Fast R-CNN, Eq. 1)."""

from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss

__all__ = ["box_loss", "class_loss"]


def class_loss(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over all RoIs, background included.

    Args:
        class_logits: (R, K + 1).
        labels: (R,) 0..K.
    """
    return cross_entropy(class_logits.float(), labels)


def box_loss(deltas: Tensor, labels: Tensor, targets: Tensor, beta: float = 1 / 3) -> Tensor:
    """Smooth-L1 of each positive's own class, summed, / all RoIs (background included).

    Args:
        deltas: (R, K + 1, 4).
        labels: (R,) 0..K.
        targets: (P, 4) deltas of the positives, in their order.
        beta: where the loss turns from square to absolute; 1/3 in the released code.
    """
    positive = (labels > 0).nonzero().flatten()
    chosen = deltas[positive, labels[positive]].float()
    return smooth_l1_loss(chosen, targets, beta=beta, reduction="sum") / max(len(labels), 1)
