"""The assembly: one picture through the network, a named call a stage."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from panet.model.backbone import Backbone
from panet.model.bottom_up import BottomUpPath, with_coarser_level
from panet.model.box_head import BoxHead
from panet.model.detections import DetectionRule, select_detections, with_mask_grids
from panet.model.mask_head import MaskHead
from panet.model.proposals import ProposalRule, anchors_of, propose
from panet.model.rpn import RPNHead, RPNOutput
from panet.model.top_down import TopDownPath
from panet.structures import Detections, ImageBatch, Pyramid, Size

__all__ = ["PANet"]


class PANet(nn.Module):
    """Path Aggregation Network (arXiv 1803.01534). Without its three ideas it is Mask R-CNN with FPN.

    Args:
        backbone: images -> C2..C5.
        top_down: C2..C5 -> P2..P5.
        bottom_up: P2..P5 -> N2..N5, or None: N is P (idea 1, Sec. 3.1).
        rpn: N2..N6 -> objectness and deltas.
        box_head: RoIs -> class logits and deltas; its pooling is idea 2 (Sec. 3.2).
        mask_head: RoIs -> mask logits, with idea 3 (Sec. 3.3), or None.
        cell_anchors: level k -> (A, 4), the anchors of one cell, px.
        proposal_rule: what the RPN's output becomes when predicting.
        detection_rule: what the box head's output becomes.
        infer_strides: anchors stand where torchvision puts them, see `model.proposals.anchors_of`.
        legacy_frames: proposals are clipped to the padded input, detections decoded and suppressed in image px
            (Detectron, 2018); else both are clipped to the picture, in input px.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        top_down: TopDownPath,
        bottom_up: BottomUpPath | None,
        rpn: RPNHead,
        box_head: BoxHead,
        mask_head: MaskHead | None,
        cell_anchors: Mapping[int, Tensor],
        proposal_rule: ProposalRule,
        detection_rule: DetectionRule,
        infer_strides: bool = False,
        legacy_frames: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.top_down = top_down
        self.bottom_up = bottom_up
        self.rpn = rpn
        self.box_head = box_head
        self.mask_head = mask_head
        self.cell_anchors = dict(cell_anchors)
        self.proposal_rule = proposal_rule
        self.detection_rule = detection_rule
        self.infer_strides = infer_strides
        self.legacy_frames = legacy_frames

    def forward(self, images: ImageBatch) -> list[Detections]:
        """Detect the objects of B pictures, in training and in eval mode alike.

        Returns:
            B detections, best first, boxes in input px; `model.detections.to_image` carries them to image px.
        """
        n = self.features(images.tensor)
        proposals = self.proposals(n, images)
        output = self.box_head(n, proposals)
        sizes, scales = self.frame(images)
        detections = select_detections(output, proposals, sizes, self.detection_rule, scales)
        return self.with_masks(n, detections)

    def features(self, images: Tensor) -> Pyramid:
        """Give N2..N5, {k: (B, C, H / 2**k, W / 2**k)}, of (B, 3, H, W) normalised pixels."""
        c = self.backbone(images)
        p = self.top_down(c)
        n: Pyramid = p if self.bottom_up is None else self.bottom_up(p)
        return n

    def proposals(self, n: Pyramid, images: ImageBatch) -> list[Tensor]:
        """Give the RPN's proposals of N2..N5, B tensors (R_i, 4) input px."""
        rpn = self.rpn(with_coarser_level(n))
        padded = (images.tensor.shape[-2], images.tensor.shape[-1])
        sizes = (padded,) * len(images) if self.legacy_frames else images.sizes
        return propose(rpn, self.anchors(rpn, images), sizes, self.proposal_rule)

    def frame(self, images: ImageBatch) -> tuple[Sequence[Size], Sequence[tuple[float, float]] | None]:
        """Give the pictures' sizes in the frame where boxes are decoded and suppressed; also its scales if image px."""
        return (images.original_sizes, images.scales) if self.legacy_frames else (images.sizes, None)

    def with_masks(self, n: Pyramid, detections: Sequence[Detections]) -> list[Detections]:
        """Add each detection's mask grid, of features N2..N5 and boxes in input px; nothing without a mask branch."""
        if self.mask_head is None:
            return list(detections)
        labels = torch.cat([each.labels for each in detections])
        return with_mask_grids(detections, self.mask_head.of_labels(n, [each.boxes for each in detections], labels))

    def anchors(self, rpn: RPNOutput, images: ImageBatch) -> Pyramid:
        """Give the anchors that an RPN output speaks of, {k: (H_k * W_k * A, 4)} input px."""
        device, (height, width) = images.tensor.device, images.tensor.shape[-2:]
        cells = {k: cell.to(device) for k, cell in self.cell_anchors.items()}
        return anchors_of(cells, rpn.grid_sizes, (height, width) if self.infer_strides else None)

    @property
    def max_detections(self) -> int:
        """Best detections of a picture that remain."""
        return self.detection_rule.max_detections

    @max_detections.setter
    def max_detections(self, count: int) -> None:
        self.detection_rule = replace(self.detection_rule, max_detections=count)
