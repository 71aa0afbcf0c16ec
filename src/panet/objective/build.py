"""ObjectiveConfig -> Objective. The only file of the objective that reads a config."""

from panet.config import ObjectiveConfig, RPNConfig
from panet.model.panet import PANet
from panet.model.proposals import ProposalRule
from panet.objective.objective import Objective
from panet.objective.targets import AnchorRule, RoIRule

__all__ = ["build_objective"]


def build_objective(model: PANet, config: ObjectiveConfig, rpn: RPNConfig) -> Objective:
    """Build what trains a model: `config` says what is sampled, `rpn` how many proposals are kept in training."""
    return Objective(
        model,
        proposal_rule=ProposalRule(rpn.num_before_nms_train, rpn.num_after_nms_train, rpn.nms_threshold),
        anchor_rule=AnchorRule(
            config.rpn_samples,
            config.rpn_positive_fraction,
            config.rpn_foreground_iou,
            config.rpn_background_iou,
            config.anchor_straddle,
        ),
        roi_rule=RoIRule(config.roi_samples, config.roi_positive_fraction, config.roi_foreground_iou),
        mask_samples=config.mask_samples,
        rpn_beta=config.rpn_beta,
        box_beta=config.box_beta,
    )
