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
    proposals: Annotated[
        list[int] | None, typer.Option(min=1, help="RoIs of a picture through the box head; may be repeated. 1000.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that all take their turn.")] = 5,
    training: Annotated[bool, typer.Option("--train", help="Time training steps of two pictures instead.")] = False,
    check: Annotated[
        tuple[str, Path] | None,
        typer.Option(metavar="MODEL DATA", help="Print the AP of a model on a data set in fp32 and bf16 instead."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Time these only; may be repeated.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw how seconds grow with --sizes or --proposals.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="By default as many as there are cores.")] = None,
    clock: Annotated[
        Literal["wall", "cpu"],
        typer.Option(help="wall; or cpu: what this process computed for, to be used with --threads 1."),
    ] = "wall",
) -> None:
    """Print seconds and their ratios, side by side and in turns: torchvision's Mask R-CNN, and PANet in its forms.

    Each runs in a process of its own, so that its memory and its allocator are its own: "memory kept" has the C library
    told to keep what is freed, as panet's own commands do. Weights are random: only time and memory mean anything.
    """
    from rich.console import Console

    from panet.cli import benchmarking

    console = Console(highlight=False, width=160)
    if check is not None:
        benchmarking.compare_scores(console, *check)
        return
    if plot is not None:
        benchmarking.check_plot(plot, len(sizes or []), len(proposals or []))
    plan = benchmarking.read_plan(config, model, assignments or [], rounds, threads, clock, only or [])
    read = [benchmarking.read_size(size) for size in sizes or (["512x512"] if training else ["800x1333"])]
    if training:
        measured = [benchmarking.time_training(console, plan, size) for size in read]
    else:
        counts = proposals or [1000]
        measured = [benchmarking.time_inference(console, plan, size, count) for size in read for count in counts]
    if plot is not None:
        benchmarking.write_plot(console, plot, measured)
