"""The options of test-time augmentation, which `eval` and `predict` share."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from panet.structures import TTA

__all__ = ["BoxVoting", "Scales", "SoftNMS", "WithFlip", "WithTTA", "build_tta"]

WithTTA: TypeAlias = Annotated[
    bool,
    typer.Option("--tta", help="Test-time augmentation as the paper's: scales 0.6,0.8,1,1.2, flip, box voting 0.8."),
]
Scales: TypeAlias = Annotated[
    str | None,
    typer.Option("--tta-scales", metavar="F,F,..", help="See pictures at these factors of the model's own size."),
]
WithFlip: TypeAlias = Annotated[
    bool | None, typer.Option("--tta-flip/--no-tta-flip", show_default=False, help="See pictures mirrored too.")
]
SoftNMS: TypeAlias = Annotated[
    Literal["linear", "gaussian"] | None, typer.Option("--soft-nms", help="Overlapping boxes lose score by this rule.")
]
BoxVoting: TypeAlias = Annotated[
    float | None, typer.Option("--box-voting", metavar="IOU", help="Boxes become the mean of those around them.")
]


def build_tta(
    tta: bool,
    scales: str | None,
    flip: bool | None,
    soft_nms: Literal["linear", "gaussian"] | None,
    box_voting: float | None,
) -> "TTA | None":
    """Give what the options ask for: those of the paper with `tta`, changed by the others; else the others alone.

    Raises:
        ConfigError: a value is unknown or out of range.
    """
    if not tta and scales is None and not flip and soft_nms is None and box_voting is None:
        return None
    from dataclasses import replace

    from panet.structures import TTA

    start = TTA() if tta else TTA(scales=(1.0,), flip=False, box_voting=None)
    return replace(
        start,
        scales=start.scales if scales is None else _numbers(scales),
        flip=start.flip if flip is None else flip,
        soft_nms=soft_nms,
        box_voting=start.box_voting if box_voting is None else box_voting,
    )


def _numbers(text: str) -> tuple[float, ...]:
    from panet.errors import ConfigError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--tta-scales {text!r}: expected numbers with commas between them, as 0.6,0.8,1") from error
