"""`panet convert`: a data set -> one of another format."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panet.cli.options import ON_BAD_DATA_HELP, OnBadData

if TYPE_CHECKING:
    from panet.data.formats.reading import Part
    from panet.data.formats.writers import Tally

__all__ = ["convert_dataset"]

_MAX_LISTED = 20


def convert_dataset(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Data set folder, or its COCO JSON file.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write; it must not exist.")],
    to: Annotated[str, typer.Option("--to", help="coco, yolo or labelme.")],
    split: Annotated[str | None, typer.Option(help="Only this part: train or val.")] = None,
    kind: Annotated[str | None, typer.Option("--format", help="Format of SRC, if it is unclear.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures of a COCO JSON file.")] = None,
    link: Annotated[bool, typer.Option("--link/--copy", help="Link to the pictures, or copy them.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier conversion wrote.")] = False,
    on_bad_data: Annotated[OnBadData, typer.Option(help=ON_BAD_DATA_HELP)] = "strict",
) -> None:
    """Write a data set in another format. SRC is only read; masks keep their pixels, or a line says which do not."""
    from rich.console import Console

    from panet.cli.findings import accept
    from panet.cli.sources import track_on
    from panet.data.formats.conversion import check_destination, convert
    from panet.data.images import printable
    from panet.data.report import read_parts

    console = Console(highlight=False)
    track = track_on(console, "converting")
    with tempfile.TemporaryDirectory(prefix="panet-") as folder:
        stored = Path(folder)
        told, parts, sources = _find_parts(source, split, kind, images, stored)
        console.print(told, markup=False, soft_wrap=True)
        check_destination(destination, sources, overwrite=overwrite)
        read = accept(read_parts(list(parts.values()), track=track), on_bad_data, refused=None)
        datasets = dict(zip(parts, read, strict=True))
        options = {"link": link, "overwrite": overwrite}
        tallies = convert(datasets, to, destination, sources, **options, stored=stored, track=track)
    for name, tally in tallies.items():
        for line in _describe(name, tally, to):
            console.print(line, markup=False, soft_wrap=True)
    console.print(f"written: {printable(destination)}", markup=False, soft_wrap=True)


def _find_parts(
    source: Path, split: str | None, kind: str | None, images: Path | None, stored: Path
) -> tuple[str, dict[str, "Part"], list[Path]]:
    """Give the line that tells the format, the parts, and the folders that are read."""
    from panet.data.formats.source import coco_part, find_source
    from panet.errors import ConfigError, DataError, nearest

    if split is not None and split not in ("train", "val"):
        raise ConfigError(f"split {split!r} is unknown{nearest(split, ('train', 'val'))}: choose train or val")
    if source.is_file():
        if images is None:
            raise DataError(f"{source}: the folder of its pictures is not known: add --images FOLDER")
        part = coco_part(source, images)
        return f"format: coco ({source.name})", {split or "train": part}, [images]
    if images is not None:
        raise ConfigError("--images: goes with a COCO JSON file as SRC, not with a folder")
    found = find_source(source, kind, stored=stored)
    parts = {name: part for name, part in (("train", found.train), ("val", found.val)) if part is not None}
    if split is not None:
        if split not in parts:
            raise DataError(f"{source}: has no {split} part")
        parts = {split: parts[split]}
    folders = [part.images for part in parts.values() if part.images != stored]
    return str(found), parts, [source, *folders]


def _describe(name: str, tally: "Tally", to: str) -> list[str]:
    from panet.data.images import printable

    lines = [f"{name}: {tally.pictures:,} pictures, {tally.objects:,} objects"]
    if to != "coco":
        lines[0] += f", {tally.holed:,} of them with holes, {tally.parted:,} of several parts"
    if tally.crowds:
        lines.append(f"{name}: left out: {tally.crowds:,} crowds, which {to} does not have")
    if not tally.differing:
        lines.append(f"{name}: every mask keeps its pixels")
        return lines
    lines.append(f"{name}: {len(tally.differing):,} objects do not keep their pixels:")
    listed = list(tally.differing.items())[:_MAX_LISTED]
    lines += [f"  {printable(where)}: {count:,} pixels differ" for where, count in listed]
    if len(tally.differing) > _MAX_LISTED:
        lines.append(f"  and {len(tally.differing) - _MAX_LISTED} more, which conversion.json lists")
    return lines
