"""From pictures of any size to the network's input and back, as torchvision does it.

torchvision resizes without antialias, and rounds sides down. `data.transforms` does so for models of torchvision's
arithmetic alone, and from uint8; here every model does, from floats that may be on a GPU.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from panet.errors import DataError
from panet.model.detections import to_image
from panet.ops import boxes as box_ops
from panet.ops.paste import paste_probabilities
from panet.structures import Detections, Size, Target

__all__ = ["as_prediction", "resize_image", "resize_target", "size_of"]


def size_of(image: Tensor) -> Size:
    """Give (height, width)."""
    return int(image.shape[-2]), int(image.shape[-1])


def resize_image(image: Tensor, short_side: int, max_side: int) -> Tensor:
    """Resize (3, H, W) so that the shorter side is `short_side`, but the longer one at most `max_side`.

    The size and the pixels are those of torchvision's GeneralizedRCNNTransform.

    Raises:
        DataError: a side would have no pixel left.
    """
    size = size_of(image)
    factor = min(short_side / min(size), max_side / max(size))
    if min(size) * factor < 1:
        raise DataError(
            f"picture of {size[1]} x {size[0]} px: too narrow: nothing is left of a side when the other is "
            f"{max_side} px; cut it into parts"
        )
    resized: Tensor = interpolate(
        image[None], scale_factor=factor, mode="bilinear", align_corners=False, recompute_scale_factor=True
    )
    return resized[0]


def resize_target(target: Target, original_size: Size, size: Size) -> Target:
    """Carry a target from a picture of `original_size` to the same picture at `size`.

    A mask takes the pixel under each centre, in step with the picture; torchvision reads it half a pixel off. Masks of
    (G, 0, 0), which nobody reads, take the size without its memory.
    """
    masks = target.masks
    if masks.numel():
        masks = interpolate(masks[:, None].to(torch.uint8), size, mode="nearest-exact")[:, 0].to(torch.bool)
    else:
        masks = masks.new_zeros(()).expand(len(masks), *size)
    return replace(target, boxes=box_ops.scale(target.boxes, original_size, size), masks=masks)


def as_prediction(detections: Detections, size: Size, original_size: Size) -> dict[str, Tensor]:
    """Give the detections of a picture as torchvision does.

    Args:
        detections: in input px.
        size: (h, w) of the resized picture.
        original_size: its own.
    Returns:
        boxes (D, 4) xyxy in image px; labels (D,) int64; scores (D,), best first; with a mask branch, masks
        (D, 1, H, W) probabilities, pasted by `ops.paste`.
    """
    found = to_image(detections, size, original_size)
    prediction = {"boxes": found.boxes, "labels": found.labels, "scores": found.scores}
    if found.mask_grids is not None:
        prediction["masks"] = paste_probabilities(found.mask_grids, found.boxes, original_size, grown=found.grown)[
            :, None
        ]
    return prediction
