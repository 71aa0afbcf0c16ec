"""ObjectiveConfig -> Objective. The only file of the objective that reads a config."""

from panet.config import ObjectiveConfig, RPNConfig
from panet.model.panet import PANet
from panet.model.proposals import ProposalRule
from panet.objective.objective import Objective
from panet.objective.targets import AnchorRule, RoIRule

__all__ = ["build_objective"]


def build_objective(model: PANet, config: ObjectiveConfig, rpn: RPNConfig) -> Objective:
    """Build what trains a model: `config` says what is sampled, `rpn` how many proposals are kept in training.

    The arithmetic of boxes is the model's own.
    """
    test = model.proposal_rule
    return Objective(
        model,
        proposal_rule=ProposalRule(
            rpn.num_before_nms_train, rpn.num_after_nms_train, rpn.nms_threshold, test.min_side, test.inclusive
        ),
        anchor_rule=AnchorRule(
            config.rpn_samples,
            config.rpn_positive_fraction,
            config.rpn_foreground_iou,
            config.rpn_background_iou,
            config.anchor_straddle,
            test.inclusive,
        ),
        roi_rule=RoIRule(config.roi_samples, config.roi_positive_fraction, config.roi_foreground_iou, test.inclusive),
        mask_samples=config.mask_samples,
        rpn_beta=config.rpn_beta,
        box_beta=config.box_beta,
    )
