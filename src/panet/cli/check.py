"""`panet check`: every picture and annotation of a data set that cannot be used, without a model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from panet.data.formats.reading import Part

__all__ = ["check"]


def check(
    root: Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder, or its COCO JSON file.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures of a JSON file.")] = None,
    kind: Annotated[str | None, typer.Option("--format", help="Format of the folder, if it is unclear.")] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every picture too: slower, and the only way to be sure.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Name every picture and annotation that `train` and `eval` would refuse; exit 2 if there is one."""
    from rich.console import Console

    from panet.cli.findings import accept
    from panet.cli.sources import track_on
    from panet.data.report import read_parts

    told, parts = _find_parts(root, images, kind)
    typer.echo(told, err=as_json)
    reading = read_parts(parts, decode=decode, track=track_on(Console(stderr=as_json)))
    if as_json:
        typer.echo(json.dumps(reading.to_document(), indent=1))
    for dataset in accept(reading, "strict", refused=None):
        counts = f"{len(dataset)} pictures and {dataset.annotations.num_objects} annotations can be used"
        typer.echo(f"{dataset.path}: {counts}", err=as_json)


def _find_parts(root: Path, images: Path | None, kind: str | None) -> tuple[str, "list[Part]"]:
    from panet.data.formats.source import coco_part, find_source
    from panet.errors import ConfigError, DataError

    if root.is_file():
        if images is None:
            raise DataError(f"{root}: the folder of its pictures is not known: add --images FOLDER")
        return f"format: coco ({root.name})", [coco_part(root, images)]
    if images is not None:
        raise ConfigError("--images: goes with a JSON file; a folder's layout says where the pictures are")
    source = find_source(root, kind)
    return str(source), [part for part in (source.train, source.val) if part is not None]
