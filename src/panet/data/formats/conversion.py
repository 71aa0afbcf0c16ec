"""A data set of any format -> a new one of another, beside it. The source is only read."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from panet.data.coco import CocoDataset
from panet.data.formats.reading import Track, untracked
from panet.data.formats.writers import TARGETS, Tally, Written
from panet.data.images import EXTENSIONS, printable, read_size
from panet.errors import ConfigError, DataError, nearest

__all__ = ["check_destination", "convert"]

_RECORD = "conversion.json"  # marks a folder that this module wrote


def convert(
    datasets: dict[str, CocoDataset],
    target_name: str,
    destination: Path,
    sources: list[Path],
    *,
    link: bool = False,
    overwrite: bool = False,
    stored: Path | None = None,
    track: Track = untracked,
) -> dict[str, Tally]:
    """Write a data set; the folder appears when all of it is written.

    Args:
        datasets: of "train", "val" or both.
        target_name: one of `TARGETS`.
        destination: a folder that does not exist, or is empty.
        sources: the folders that were read, below which nothing is written.
        link: pictures are symbolic links to those of the source, not copies.
        overwrite: replace a folder that an earlier conversion wrote.
        stored: the folder that was given to `find_source`; pictures that were written there are always copied.
        track: goes through the pictures.

    Returns: what became of the objects, by part.
    Raises:
        ConfigError: the format cannot be written.
        DataError: parts of different classes; pictures that the format would show turned; the destination cannot be
            written.
    """
    if target_name not in TARGETS:
        raise ConfigError(f"--to {target_name}: unknown{nearest(target_name, TARGETS)}: choose {', '.join(TARGETS)}")
    check_destination(destination, sources, overwrite=overwrite)
    _check_classes(datasets, target_name)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as staging:
            root = Path(staging) / destination.name
            tallies = _write(datasets, target_name, root, link=link, stored=stored, track=track)
            if destination.exists():
                shutil.rmtree(destination)
            os.replace(root, destination)
    except OSError as error:
        raise DataError(f"{printable(destination)}: cannot be written ({error.strerror or error})") from error
    return tallies


def check_destination(destination: Path, sources: list[Path], *, overwrite: bool) -> None:
    """Make sure that a folder may be written: it is new or a conversion's, and apart from the folders of the source.

    Raises:
        DataError: says why not.
    """
    name = printable(destination)
    place = Path(os.path.realpath(destination))
    for source in sources:
        own = Path(os.path.realpath(source))
        if place.is_relative_to(own) or own.is_relative_to(place):
            raise DataError(f"{name}: is in the data set's folder, or around it; name a folder elsewhere")
    if not destination.exists() and not destination.is_symlink():
        return
    if destination.is_symlink() or not destination.is_dir():
        raise DataError(f"{name}: is no folder; name one that does not exist")
    if not any(destination.iterdir()):
        return
    if not overwrite:
        raise DataError(f"{name}: exists; add --overwrite, or name another folder")
    if not (destination / _RECORD).is_file():
        raise DataError(f"{name}: was not written by panet convert, so it is not overwritten; remove it yourself")


def _check_classes(datasets: dict[str, CocoDataset], target_name: str) -> None:
    first, *others = datasets.values()
    for other in others:
        if other.label_map != first.label_map:
            raise DataError(f"{printable(other.path)}: lists other classes than {printable(first.path)}")
    try:
        TARGETS[target_name].check(first.label_map)
    except DataError as error:
        raise DataError(f"{printable(first.path)}: {error}") from error


def _write(
    datasets: dict[str, CocoDataset], target_name: str, root: Path, *, link: bool, stored: Path | None, track: Track
) -> dict[str, Tally]:
    target = TARGETS[target_name]
    tallies: dict[str, Tally] = {}
    for split, dataset in datasets.items():
        tally = tallies[split] = Tally()
        folder = root / target.pictures.format(split=split)
        folder.mkdir(parents=True, exist_ok=True)
        pictures = _place_pictures(dataset, folder, target_name, link=link, stored=stored, track=track)
        target.write(root, split, pictures, dataset.label_map, tally)
    label_map = next(iter(datasets.values())).label_map
    target.finish(root, list(datasets), label_map)
    record = {"format": target_name, "parts": {split: vars(tally) for split, tally in tallies.items()}}
    (root / _RECORD).write_text(json.dumps({"written_by": "panet convert", **record}, indent=1), encoding="utf-8")
    return tallies


def _place_pictures(
    dataset: CocoDataset, folder: Path, target_name: str, *, link: bool, stored: Path | None, track: Track
) -> Iterator[Written]:
    """Copy or link each picture, and give what is on it; DataError for one that the format would show turned."""
    names = _new_names([image.file_name for image in dataset.images])
    for index in track(range(len(dataset))):
        image = dataset.images[index]
        if TARGETS[target_name].only_upright and read_size(image.path) != (image.height, image.width):
            raise DataError(
                f"{printable(image.path)}: is annotated as it is stored, and {target_name} would have it turned: "
                "save the picture without its EXIF orientation, or convert to coco"
            )
        place = folder / names[index]
        place.parent.mkdir(parents=True, exist_ok=True)
        real = Path(os.path.realpath(image.path))
        if link and not (stored is not None and real.is_relative_to(os.path.realpath(stored))):
            place.symlink_to(real)
        else:
            shutil.copyfile(real, place)
        yield Written(names[index], image, dataset.annotations[index])


def _new_names(names: list[str]) -> list[str]:
    """Name the pictures below their new folder: without the folders they all share, no two alike but for the ending."""
    paths = [PurePosixPath(os.path.normpath(name)) for name in names]
    shared = os.path.commonpath([path.parent for path in paths]) if paths else ""
    taken: set[str] = set()
    new = []
    for path in paths:
        short = path.relative_to(shared) if shared else path
        if short.suffix.lower() not in EXTENSIONS:
            raise DataError(f"{printable(str(path))}: ends in none of {' '.join(EXTENSIONS)}; rename the picture")
        stem, number = short.with_suffix(""), 1
        while str(stem).lower() in taken:
            number += 1
            stem = short.with_name(f"{short.stem}-{number}")
        taken.add(str(stem).lower())
        new.append(f"{stem}{short.suffix}")
    return new
