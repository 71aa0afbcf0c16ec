"""`panet train`: a data set -> a run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panet.cli.options import ON_BAD_DATA_HELP, OnBadData, WithLogs, WithPreflight

if TYPE_CHECKING:
    from panet.config import Config

__all__ = ["read_settings", "train"]

_RECIPES = (".yaml", ".yml")
_WEIGHTS = (".safetensors", ".pth", ".pt", ".pkl")


def train(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="SOURCE", help="Data set folder, a recipe (.yaml), or with --resume a run's folder."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A named model; `panet config --list` tells which.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings, instead of a named model.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run (else train, train2, ...).")] = None,
    output_root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run, by default the newest.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove an earlier run of this --name.")] = False,
    epochs: Annotated[float | None, typer.Option(help="Times that every picture is seen.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer updates, instead of --epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a batch.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate (train.learning_rate).")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read pictures.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, augmentation and sampling.")] = None,
    init: Annotated[str | None, typer.Option(help="A model file to start from, or 'bundled'.")] = None,
    reset_head: Annotated[bool, typer.Option("--reset-head", help="With --init: new output layers.")] = False,
    on_bad_data: Annotated[OnBadData | None, typer.Option(help=ON_BAD_DATA_HELP)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print model, memory and schedule, check the data; write nothing.")
    ] = False,
    preflight: WithPreflight = None,
    log: WithLogs = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. train.ema_decay=0.999."),
    ] = None,
) -> None:
    """Train a model on a data set in COCO format; everything goes into runs/<name>/."""
    from functools import partial

    from panet.cli.training import run_training
    from panet.errors import ConfigError
    from panet.train.distributed import joined
    from panet.train.folder import create_folder

    flags = _assignments(epochs, steps, batch_size, lr, workers, device, seed, on_bad_data) + (assignments or [])
    with joined() as ranks:
        with ranks.together():
            if reset_head and init is None:
                raise ConfigError("--reset-head: goes with --init")
            if dry_run and (resume or init is not None):
                raise ConfigError(f"--dry-run: does not go with {'--resume' if resume else '--init'}")
            if resume and (overwrite or init is not None):
                raise ConfigError(f"--resume: does not go with {'--overwrite' if overwrite else '--init'}")
            folder = _run_to_resume(source, output_root / name if name else output_root) if resume else None
            settings = _settings(source, model, config, folder, flags)
        go = partial(run_training, settings, services=log or (), ranks=ranks)
        if dry_run:
            with ranks.together():
                if ranks.is_first:
                    _dry_run(source, settings, flags)
        elif folder is not None:
            go(lambda: folder, runs=folder, resume=True, rehearsed=preflight is True)
        else:
            make, rehearsed = partial(create_folder, output_root, name, overwrite), preflight is not False
            go(make, runs=output_root, init=init, reset_head=reset_head, rehearsed=rehearsed)


def _run_to_resume(source: Path | None, runs: Path) -> Path:
    """Give the run that SOURCE is, or else the newest in `runs`."""
    from panet.train.folder import find_run

    return find_run(source if source is not None and _is_run(source) else runs)


def _settings(
    source: Path | None, model: str | None, config: Path | None, run: Path | None, flags: list[str]
) -> "Config":
    """Read the settings of a new run, or of one to go on with: its own, if SOURCE does not name others."""
    if run is not None and (source is None or _is_run(source)):
        return read_settings(None, None, run / "config.yaml", flags)
    return read_settings(source, model, config, flags)


def _is_run(source: Path) -> bool:
    return (source / "config.yaml").is_file()


def _dry_run(source: Path | None, settings: "Config", flags: list[str]) -> None:
    """Tell what a run would be. Only a data set that the command line names must exist."""
    from panet.cli.dry_run import dry_run

    named = source is not None and source.suffix.lower() not in _RECIPES
    named = named or any(flag.partition("=")[0].strip() == "data.root" for flag in flags)
    dry_run(settings, data_must_exist=named)


def _assignments(
    epochs: float | None,
    steps: int | None,
    batch_size: int | None,
    lr: float | None,
    workers: int | None,
    device: str | None,
    seed: int | None,
    on_bad_data: OnBadData | None,
) -> list[str]:
    """Write options as assignments, so that their values are checked like any setting's."""
    given = {
        "train.epochs": epochs,
        "train.steps": steps,
        "data.batch_size": batch_size,
        "train.learning_rate": lr,
        "data.workers": workers,
        "train.device": device,
        "train.seed": seed,
        "data.on_bad_data": on_bad_data,
    }
    if epochs is not None and steps is None:
        given["train.steps"] = "none"  # a recipe's steps would go before epochs
    return [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def read_settings(source: Path | None, model: str | None, config: Path | None, assignments: list[str]) -> "Config":
    """Give the settings of a recipe, of --config, or of a named model, with the data set's folder in them."""
    from panet.errors import ConfigError, DataError
    from panet.settings import read_config

    if source is not None and source.suffix.lower() in _WEIGHTS:
        raise DataError(f"{source}: is a model, not a data set; give the data set's folder, and the model to --init")
    if source is not None and source.suffix.lower() in _RECIPES and not source.is_dir():
        if config is not None:
            raise ConfigError(f"{source}: is a recipe, complete in itself; leave out --config {config}")
        settings = read_config(source, model, assignments)
        hint = f"{source}: says no data.root; add it to the recipe, or give --config {source} and the data set's folder"
    else:
        settings = read_config(config, model, assignments)
        if source is not None:
            data = settings.data.model_copy(update={"root": str(source)})
            settings = settings.model_copy(update={"data": data})
        hint = "no data set: give its folder, or a recipe with data.root"
    if not settings.data.root:
        raise ConfigError(hint)
    return settings
