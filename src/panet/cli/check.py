"""`panet check`: every picture and annotation of a data set that cannot be used, without a model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from panet.data.layout import Split

__all__ = ["check"]


def check(
    root: Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder, or its COCO JSON file.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures of a JSON file.")] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every picture too: slower, and the only way to be sure.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Name every picture and annotation that `train` and `eval` would refuse; exit 2 if there is one."""
    from panet.cli.findings import accept
    from panet.data.report import read_parts

    reading = read_parts(_find_parts(root, images), decode=decode)
    if as_json:
        typer.echo(json.dumps(reading.to_document(), indent=1))
    for dataset in accept(reading, "strict", refused=None):
        counts = f"{len(dataset)} pictures and {dataset.annotations.num_objects} annotations can be used"
        typer.echo(f"{dataset.path}: {counts}", err=as_json)


def _find_parts(root: Path, images: Path | None) -> "list[Split]":
    from panet.data.layout import Split, find_layout
    from panet.errors import ConfigError, DataError

    if root.is_file():
        if images is None:
            raise DataError(f"{root}: the folder of its pictures is not known: add --images FOLDER")
        return [Split(root, images)]
    if images is not None:
        raise ConfigError("--images: goes with a JSON file; a folder's layout says where the pictures are")
    layout = find_layout(root)
    return [part for part in (layout.train, layout.val) if part is not None]
