"""`panet doctor`: what is wrong with a data set, as a table, JSON or a page; corrected annotations."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from panet.data.formats.reading import Part as Place
    from panet.doctor.examine import Diagnosis
    from panet.doctor.fit import ModelFit
    from panet.doctor.parts import Finding, Part

__all__ = ["doctor"]

_REFUSED = 2  # the exit code


def doctor(
    root: Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder, or a COCO JSON file.")],
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every picture too: finds damage, and look-alikes in train and val.")
    ] = False,
    fix: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.json",
            help="Write corrected annotations, and OUT.changes.json. Of two parts: OUT.train.json, OUT.val.json.",
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="R.html", help="Write a page with pictures of it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
    split: Annotated[str | None, typer.Option(help="Look at one part only: train or val.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures of one part, if not where the layout has it.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Named model, model file or 'bundled', whose anchors and limits the objects must fit."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings, instead of a named model.")] = None,
    kind: Annotated[str | None, typer.Option("--format", help="Format of the folder, if it is unclear.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that --fix and --report name.")] = False,
) -> None:
    """Look for everything that is wrong with a data set. Exit code 2 if training would refuse some of it."""
    from rich.console import Console
    from rich.progress import Progress

    from panet.doctor.document import check_place, dump, to_document
    from panet.doctor.examine import examine

    told, splits = _find_splits(root, split, images, kind)
    outputs = _outputs(fix, list(splits))
    for path in [*outputs.values(), *map(_changes_of, outputs.values()), *([report] if report else [])]:
        check_place(path, _guarded(root, splits), overwrite)
    fit = _fit(model, config)
    console = Console(highlight=False, stderr=as_json)
    console.print(told, markup=False, soft_wrap=True)
    parts, unreadable = _open(splits, console)
    with Progress(console=console, transient=True, disable=not (decode and console.is_terminal)) as bar:
        task = bar.add_task("decoding", total=sum(map(len, parts)))
        diagnosis = examine(parts, fit, decode, unreadable, lambda count: bar.advance(task, count))

    def tell(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    if as_json:
        typer.echo(dump(to_document(diagnosis)))
    else:
        _print(console, diagnosis, tell)
    if report is not None:
        _write_report(report, diagnosis, root.resolve().name, tell)
    _write_fixes(outputs, diagnosis, tell)
    if diagnosis.refused:
        raise typer.Exit(_REFUSED)


def _find_splits(
    root: Path, split: str | None, images: Path | None, kind: str | None
) -> tuple[str, dict[str, "Place"]]:
    """Give the format and the parts to look at by their names; a JSON file is train unless told otherwise."""
    from panet.data.formats.source import coco_part, find_source
    from panet.data.images import printable
    from panet.data.layout import find_layout
    from panet.errors import ConfigError, DataError, nearest

    names = ("train", "val")
    if split is not None and split not in names:
        raise ConfigError(f"split {split!r} is unknown{nearest(split, names)}: choose train or val")
    if root.is_file():
        name = split or "train"
        if images is not None:
            return f"format: coco ({root.name})", {name: coco_part(root, images)}
        found_there = getattr(find_layout(root.parent, **{name: root.resolve()}), name)
        return f"format: coco ({root.name})", {name: coco_part(found_there.annotations, found_there.images)}
    if images is not None and split is None:
        raise ConfigError("--images: is for one part; add --split train or --split val")
    source = find_source(root, kind, **({f"{split}_images": images} if split else {}))
    found = {name: part for name, part in (("train", source.train), ("val", source.val)) if part is not None}
    if split is None:
        return str(source), found
    if split not in found:
        raise DataError(f"{printable(root)}: has no {split} part; leave out --split, or give the JSON file itself")
    return str(source), {split: found[split]}


def _open(splits: dict[str, "Place"], console: "Console") -> "tuple[list[Part], list[Finding]]":
    """Read the parts that can be read, and give what is wrong with the others."""
    from panet.cli.sources import track_on
    from panet.doctor.opening import open_part
    from panet.doctor.parts import Part

    opened = [open_part(name, place, track_on(console)) for name, place in splits.items()]
    parts = [part for part in opened if isinstance(part, Part)]
    return parts, [finding for part in opened if not isinstance(part, Part) for finding in part]


def _guarded(root: Path, splits: dict[str, "Place"]) -> list[Path]:
    """Give the folders in which nothing is written."""
    folder = root if root.is_dir() else root.parent
    return [folder, *(part.images for part in splits.values())]


def _outputs(fix: Path | None, names: list[str]) -> dict[str, Path]:
    """Give the file of each part that --fix names."""
    from panet.data.images import printable
    from panet.errors import DataError

    if fix is None:
        return {}
    if fix.suffix.lower() != ".json":
        raise DataError(f"{printable(fix)}: --fix writes annotations; give a name that ends in .json")
    if len(names) == 1:
        return {names[0]: fix}
    return {name: fix.with_suffix(f".{name}.json") for name in names}


def _changes_of(path: Path) -> Path:
    return path.with_suffix(".changes.json")


def _fit(model: str | None, config: Path | None) -> "ModelFit":
    """Give what of a model's settings the data must fit."""
    from panet.data.images import printable
    from panet.doctor.fit import ModelFit
    from panet.errors import ConfigError
    from panet.settings import read_config
    from panet.weights.checkpoint import BUNDLED, load_model

    if model is not None and (model in BUNDLED or Path(model).suffix or Path(model).is_file()):
        if config is not None:
            raise ConfigError(f"--config: {printable(model)} has settings of its own; give one of the two")
        settings = load_model(model).config
        name = model if model in BUNDLED else Path(model).name
    else:
        settings = read_config(config, model).model
        name = model or (config.name if config is not None else "panet_r50")  # whose settings are the defaults
    return ModelFit(
        name=printable(name),
        anchor_sizes=tuple(size for sizes in settings.rpn.anchor_sizes for size in sizes),
        anchor_ratios=settings.rpn.anchor_ratios,
        short_side=settings.short_side,
        max_side=settings.max_side,
        arithmetic=settings.arithmetic,
        max_detections=settings.detection.max_detections,
    )


def _print(console: "Console", diagnosis: "Diagnosis", tell: "Callable[[str], None]") -> None:
    from panet.doctor.table import describe_parts, describe_rules, describe_verdict, rule_table

    for line in describe_parts(diagnosis):
        tell(line)
    if diagnosis.findings:
        console.print(rule_table(diagnosis))
        for line in describe_rules(diagnosis):
            tell(line)
    tell(describe_verdict(diagnosis))


def _write_report(report: Path, diagnosis: "Diagnosis", title: str, tell: "Callable[[str], None]") -> None:
    from panet.data.images import printable
    from panet.doctor.document import write_text
    from panet.doctor.page import write_page

    page = write_page(diagnosis, title)
    write_text(report, page)
    tell(f"written: {printable(report)} ({len(page) / 1e6:.1f} MB)")


def _write_fixes(outputs: dict[str, Path], diagnosis: "Diagnosis", tell: "Callable[[str], None]") -> None:
    """Write the corrected annotations of every part that could be read, and what changed."""
    from panet.data.images import printable
    from panet.doctor.document import dump, write_text
    from panet.doctor.repair import repair
    from panet.doctor.table import describe_changes

    for part in diagnosis.parts:
        if part.name not in outputs:
            continue
        document, changes = repair(part, diagnosis.findings)
        path = outputs[part.name]
        write_text(path, dump(document))
        write_text(_changes_of(path), dump([vars(change) for change in changes]))
        counts = f"{len(document['images']):,} pictures, {len(document['annotations']):,} annotations"
        tell(f"written: {printable(path)}: {counts}, {len(changes):,} changes")
        for line in describe_changes(changes):
            tell(line)
    for name, path in outputs.items():
        if name not in {part.name for part in diagnosis.parts}:
            tell(f"not written: {printable(path)}: nothing of {name} can be used")
