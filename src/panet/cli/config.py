"""`panet config`: the settings as they would be used."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["show_config"]


def show_config(
    model: Annotated[str | None, typer.Option(help="A named model; --list tells which.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. train.seed=1.")
    ] = None,
    names: Annotated[bool, typer.Option("--list", help="Print the names of the models instead.")] = False,
) -> None:
    """Print all settings of a model or a file as YAML, defaults and changes included."""
    from panet.presets import PRESETS
    from panet.settings import read_config, to_yaml

    if names:
        typer.echo("\n".join(PRESETS))
    else:
        typer.echo(to_yaml(read_config(config, model, assignments or [])), nl=False)
