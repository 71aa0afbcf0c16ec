"""Options that several commands have."""

from typing import Literal, TypeAlias

__all__ = ["ON_BAD_DATA_HELP", "PRECISION_HELP", "OnBadData", "Precision"]

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "reference"]
"""As `model.fast.Precision`, which cannot be imported without torch."""

PRECISION_HELP = (
    "Of weights and features: fp32, bf16 (about twice as fast), auto: bf16 where the hardware has it; reference: fp32, "
    "layer by layer as trained, slower."
)

OnBadData: TypeAlias = Literal["strict", "skip"]

ON_BAD_DATA_HELP = (
    "strict: end before the first step if a picture or an annotation cannot be used; skip: go on without those."
)
