"""Loss of the mask head (Mask R-CNN, Sec. 3)."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["mask_loss"]


def mask_loss(mask_logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy on the channel of each RoI's class, averaged over all cells; 0 without RoIs.

    Args:
        mask_logits: (P, K + 1, M, M).
        labels: (P,) 1..K.
        targets: (P, M, M) of 0 and 1.
    """
    if not len(labels):
        return mask_logits.sum() * 0  # a zero that keeps the gradient
    chosen = mask_logits[torch.arange(len(labels), device=labels.device), labels].float()
    return binary_cross_entropy_with_logits(chosen, targets)
