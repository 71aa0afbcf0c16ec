"""What is compared: PANet in its plain, naive and fast form, and torchvision's Mask R-CNN as it is shipped."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import roi_align

from panet.data.batching import Normalise, make_image_batch
from panet.model.detections import to_image
from panet.model.fusion import AdaptivePooling
from panet.model.mask_head import MaskHead
from panet.model.panet import PANet
from panet.ops.paste import masks_to_rle
from panet.structures import Detections, Pyramid, Size

__all__ = ["TORCHVISION", "Workload", "naive_form", "panet_run", "prepare", "torchvision_run"]

TORCHVISION: dict[str, Callable[..., nn.Module]] = {"v1": maskrcnn_resnet50_fpn, "v2": maskrcnn_resnet50_fpn_v2}

_CANDIDATES = 1000  # boxes of a class that reach suppression; with random weights no threshold means anything


class NaivePooling(nn.Module):
    """Adaptive pooling as a first port writes it: torchvision's `roi_align`, level by level."""

    def __init__(self, pooling: AdaptivePooling) -> None:
        super().__init__()
        self.fuse, self.size, self.samples = pooling.fuse, pooling.size, pooling.samples

    def forward(self, n: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        grids = {k: roi_align(each, list(boxes), self.size, 2.0**-k, self.samples) for k, each in n.items()}
        fused: Tensor = self.fuse(grids)
        return fused


class NaiveMaskHead(nn.Module):
    """A mask head that computes the masks of every class, to take one."""

    def __init__(self, head: MaskHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, n: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.head(n, boxes)
        return logits

    def of_labels(self, n: Pyramid, boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        return self.forward(n, boxes)[torch.arange(len(labels)), labels]


class Workload:
    """A picture, and how much of it is kept.

    Args:
        size: (height, width) px; it is not resized.
        num_proposals: RoIs through the box head.
    """

    def __init__(self, size: Size, num_proposals: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.size = size
        self.num_proposals = num_proposals
        self.pixels = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8).permute(2, 0, 1)


def prepare(model: PANet, workload: Workload, normalise: Normalise) -> None:
    """Set a model's numbers of proposals and boxes to the workload's: random weights keep as much as trained ones."""
    count = workload.num_proposals
    model.proposal_rule = replace(model.proposal_rule, num_before_nms=count, num_after_nms=count)
    scores: list[Tensor] = []
    handle = model.box_head.register_forward_hook(lambda _, __, output: scores.append(output.class_logits))
    with torch.inference_mode():
        model(make_image_batch([workload.pixels], [workload.size], normalise))
    handle.remove()
    model.detection_rule = replace(model.detection_rule, score_threshold=_threshold(scores[-1]))


def _threshold(class_logits: Tensor) -> float:
    """Give the score that `_CANDIDATES` boxes of a class exceed."""
    scores = class_logits.float().softmax(dim=1)[:, 1:].flatten()
    return float(scores.topk(min(_CANDIDATES, len(scores))).values[-1])


def naive_form(model: PANet) -> PANet:
    """Turn a plain model into a first port of the paper: channels first, RoIAlign by level, masks of every class."""
    for head in (model.box_head, model.mask_head):
        if head is not None and isinstance(head.pooling, AdaptivePooling):
            head.pooling = NaivePooling(head.pooling)
    if model.mask_head is not None:
        model.mask_head = cast("MaskHead", NaiveMaskHead(model.mask_head))
    return model.to(memory_format=torch.contiguous_format)


def panet_run(
    model: PANet, workload: Workload, normalise: Normalise, *, naive: bool = False
) -> Callable[[], Detections]:
    """Give what is timed: pixels -> detections with masks as COCO's RLE, or `naive`, as full-size maps."""

    def run() -> Detections:
        batch = make_image_batch([workload.pixels], [workload.size], normalise)
        if naive:
            batch = replace(batch, tensor=batch.tensor.contiguous())
        with torch.inference_mode():
            (found,) = model(batch)
        found = to_image(found, batch.sizes[0], workload.size)
        if found.mask_grids is None:
            return found
        if naive:
            paste_masks_in_image(found.mask_grids[:, None], found.boxes, workload.size)
        else:
            masks_to_rle(found.mask_grids, found.boxes, workload.size)
        return found

    return run


def torchvision_run(version: str, workload: Workload) -> Callable[[], dict[str, Tensor]]:
    """Give what is timed of torchvision's model "v1" or "v2", with as many proposals and boxes: random weights too."""
    count, (height, width) = workload.num_proposals, workload.size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = TORCHVISION[version](
            weights=None,
            weights_backbone=None,
            min_size=min(height, width),
            max_size=max(height, width),
            rpn_pre_nms_top_n_test=count,
            rpn_post_nms_top_n_test=count,
        ).train(False)
    image = workload.pixels.contiguous().float() / 255

    def run() -> dict[str, Tensor]:
        with torch.inference_mode():
            return cast("dict[str, Tensor]", model([image])[0])

    logits: list[Tensor] = []
    handle = model.roi_heads.box_predictor.register_forward_hook(lambda _, __, output: logits.append(output[0]))
    run()
    handle.remove()
    model.roi_heads.score_thresh = _threshold(logits[-1])
    return run
