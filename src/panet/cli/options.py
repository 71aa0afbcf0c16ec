"""Options that several commands have."""

from typing import Literal, TypeAlias

__all__ = ["PRECISION_HELP", "Precision"]

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "reference"]
"""As `model.fast.Precision`, which cannot be imported without torch."""

PRECISION_HELP = (
    "Of weights and features: fp32, bf16 (about twice as fast), auto: bf16 where the hardware has it; reference: fp32, "
    "layer by layer as trained, slower."
)
