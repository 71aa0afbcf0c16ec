"""Options that several commands have."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from panet.model.panet import PANet

__all__ = [
    "ON_BAD_DATA_HELP",
    "PRECISION_HELP",
    "OnBadData",
    "Precision",
    "WithCompile",
    "WithLogs",
    "WithPreflight",
    "compile_shown",
]

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

WithCompile: TypeAlias = Annotated[
    bool, typer.Option("--compile", help="Have torch.compile take over the network: slow to start, for many pictures.")
]
"""Whether the network is compiled."""

WithPreflight: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--preflight/--no-preflight",
        help="Before the first step, try the costliest batches, and estimate memory and time. With --resume: not by "
        "default.",
        show_default=False,
    ),
]
"""Whether the costliest batches are tried before the first step; None: it was not said."""

WithLogs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--log", metavar="SERVICE", help="Log to wandb (offline), wandb-online or mlflow too; may be given repeatedly."
    ),
]
"""Services that a run is logged to."""


def compile_shown(console: "Console", model: "PANet", side: int) -> None:
    """Compile a network, and say how long that took."""
    from panet.model.fast import compile_stages

    console.print(f"compiled in {compile_stages(model, side):.1f} s")
