"""`panet ablate`: what each part of PANet is worth on a data set of one's own."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ablate"]


def ablate(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Data set folder with a val part, or a recipe (.yaml) that names one."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A named model that the rows are made of.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings, instead of a named model.")] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="A,B", help="These rows only; 'all'. By default the paper's Table 3.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer updates of a run; else the settings' own.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of a row, each with another seed.")] = 3,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the runs and the report.")] = Path(
        "runs/ablate"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on: what is finished is not repeated.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove an earlier ablation there.")] = False,
    max_dets: Annotated[int | None, typer.Option(min=1, help="Detections a picture that count.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Times that the pictures are drawn again for intervals.")] = 1000,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of all rows, e.g. data.workers=0."),
    ] = None,
) -> None:
    """Train and score the rows of the paper's Table 3 with the same steps and seeds; say what can be told apart."""
    from panet.cli.ablating import run_ablation
    from panet.cli.train import read_settings
    from panet.errors import ConfigError

    if resume and overwrite:
        raise ConfigError("--resume: does not go with --overwrite")
    given = {"train.steps": steps, "train.max_dets": max_dets}
    flags = [f"{key}={value}" for key, value in given.items() if value is not None]
    base = read_settings(source, model, config, flags + (assignments or []))
    run_ablation(base, rows, seeds, draws, output, resume=resume, overwrite=overwrite)
