"""The stages of `PANet.forward`, each with the time it takes."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch

from panet.model.bottom_up import with_coarser_level
from panet.model.detections import select_detections, with_mask_grids
from panet.model.panet import PANet
from panet.model.proposals import propose
from panet.structures import Detections, ImageBatch

__all__ = ["timed_forward"]

T = TypeVar("T")


def timed_forward(
    model: PANet, images: ImageBatch, clock: Callable[[], float] = time.perf_counter
) -> tuple[list[Detections], dict[str, float]]:
    """Do as the forward of a model of modern arithmetic; give its detections, and seconds by stage."""
    assert not model.legacy_frames
    seconds: dict[str, float] = {}

    def run(stage: str, step: Callable[[], T]) -> T:
        start = clock()
        result = step()
        seconds[stage] = clock() - start
        return result

    bottom_up = model.bottom_up
    c = run("backbone", lambda: model.backbone(images.tensor))
    p = run("top-down path", lambda: model.top_down(c))
    n = p if bottom_up is None else run("bottom-up path", lambda: bottom_up(p))
    rpn = run("RPN", lambda: model.rpn(with_coarser_level(n)))
    proposals = run("proposals", lambda: propose(rpn, model.anchors(rpn, images), images.sizes, model.proposal_rule))
    pooled = run("box pooling and first layer", lambda: model.box_head.pooling(n, proposals))
    shared = run("box head", lambda: model.box_head.shared(pooled))
    output = run("box outputs", lambda: model.box_head.outputs(shared))
    detections = run("detections", lambda: select_detections(output, proposals, images.sizes, model.detection_rule))
    if model.mask_head is None:
        return detections, seconds
    mask_head = model.mask_head
    boxes, labels = [each.boxes for each in detections], torch.cat([each.labels for each in detections])
    grids = run("masks", lambda: with_mask_grids(detections, mask_head.of_labels(n, boxes, labels)))
    return grids, seconds
