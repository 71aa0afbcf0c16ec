"""`panet bench`: how fast a model is on this machine, beside torchvision's Mask R-CNN."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["bench"]


def bench(
    model: Annotated[str | None, typer.Option(help="A named model; `panet config --list` tells which.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings, instead of a named model.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")
    ] = None,
    sizes: Annotated[
        list[str] | None, typer.Option(metavar="HxW", help="Input px; may be repeated. 800x1333; training 512x512.")
    ] = None,
    proposals: Annotated[int, typer.Option(min=1, help="RoIs of a picture through the box head.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Times that all take their turn.")] = 5,
    training: Annotated[bool, typer.Option("--train", help="Time training steps of two pictures instead.")] = False,
    check: Annotated[
        tuple[str, Path] | None,
        typer.Option(metavar="MODEL DATA", help="Print the AP of a model on a data set in fp32 and bf16 instead."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Time these only; may be repeated.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="By default as many as there are cores.")] = None,
    clock: Annotated[
        Literal["wall", "cpu"],
        typer.Option(help="wall; or cpu: what this process computed for, to be used with --threads 1."),
    ] = "wall",
) -> None:
    """Print seconds and their ratios, side by side and in turns: torchvision's Mask R-CNN, and PANet in three forms.

    Weights are random: only the time means anything. PANET_KEEP_MEMORY=0 shows what the C library's allocator costs.
    """
    from rich.console import Console

    from panet.cli import benchmarking

    console = Console(highlight=False, width=120)
    if check is not None:
        benchmarking.compare_scores(console, *check)
        return
    plan = benchmarking.read_plan(config, model, assignments or [], proposals, rounds, threads, clock, only or [])
    for size in sizes or (["512x512"] if training else ["800x1333"]):
        (benchmarking.time_training if training else benchmarking.time_inference)(
            console, plan, benchmarking.read_size(size)
        )
