"""Whose state dict is it? Told by names that no other project uses; refused when that is unclear."""

from collections.abc import Iterable

from panet.errors import CheckpointError, nearest

__all__ = ["SOURCES", "recognise"]

# Source -> beginnings of names; every one of them must occur.
_SIGNATURES = {
    "official": ("Conv_Body.conv_body.", "RPN.FPN_RPN_"),
    "torchvision": ("backbone.body.", "backbone.fpn.", "roi_heads."),
    "detectron2": ("backbone.bottom_up.", "backbone.fpn_", "proposal_generator."),
    "mmdetection": ("backbone.layer1.", "neck.lateral_convs.", "rpn_head."),
}
SOURCES = tuple(_SIGNATURES)


def recognise(names: Iterable[str], told: str | None = None) -> str:
    """Give the source of a state dict with these names: one of SOURCES.

    Args:
        names: of its tensors.
        told: the source, where the user has named it.

    Raises:
        CheckpointError: no project, or more than one, names its tensors so; or `told` is unknown or wrong.
    """
    if told is not None and told not in SOURCES:
        raise CheckpointError(f"--from {told}: unknown{nearest(told, SOURCES)}: give one of {', '.join(SOURCES)}")
    names = list(names)
    fitting = [
        source
        for source, beginnings in _SIGNATURES.items()
        if all(any(name.startswith(beginning) for name in names) for beginning in beginnings)
    ]
    if told is not None:
        if fitting and told not in fitting:
            raise CheckpointError(f"--from {told}: the names are those of {fitting[0]}: leave --from out")
        return told
    if len(fitting) != 1:
        raise CheckpointError(
            f"names such as {', '.join(names[:3])}: not clearly a detector of {', '.join(SOURCES)}: "
            "say which with --from; backbones alone go into model.backbone.weights"
        )
    return fitting[0]
