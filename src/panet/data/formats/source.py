"""Which format a data set has, and where its parts lie. It is detected by names, told, and refused where unclear."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from panet.data.documents import read_json
from panet.data.formats import cityscapes, label_maps, labelme, mapillary, voc, yolo
from panet.data.formats.reading import Part, Reading, Track, unreadable
from panet.data.images import printable
from panet.data.layout import Layout, Split, find_layout
from panet.errors import ConfigError, DataError, nearest

__all__ = ["FORMATS", "Source", "coco_part", "find_source"]


@dataclass(frozen=True)
class Source:
    """A data set.

    Args:
        kind: its format, one of `FORMATS`.
        evidence: what it was recognised by; empty if it was told.
        train, val: its parts; at least one.
    """

    kind: str
    evidence: str
    train: Part | None
    val: Part | None

    def __str__(self) -> str:
        return f"format: {self.kind} ({printable(self.evidence) or 'as told'})"


class _Format(NamedTuple):
    name: str
    looked_for: str
    fit: Callable[[Path], str]
    find: Callable[[Path, str], Part | None]


_COCO = "coco"
_COCO_LOOKED_FOR = "train.json, {train,valid}/_annotations.coco.json or annotations/instances_{train,val}*.json"
_COCO_PATTERNS = (
    "train.json",
    "val.json",
    "train/_annotations.coco.json",
    "valid/_annotations.coco.json",
    "val/_annotations.coco.json",
    "annotations/instances_train*.json",
    "annotations/instances_val*.json",
)

_OTHERS = (
    _Format("yolo", yolo.LOOKED_FOR, yolo.fit_yolo, yolo.find_yolo),
    _Format("voc", voc.LOOKED_FOR, voc.fit_voc, voc.find_voc),
    _Format("labelme", labelme.LOOKED_FOR, labelme.fit_labelme, labelme.find_labelme),
    _Format("cityscapes", cityscapes.LOOKED_FOR, cityscapes.fit_cityscapes, cityscapes.find_cityscapes),
    _Format("mapillary", mapillary.LOOKED_FOR, mapillary.fit_mapillary, mapillary.find_mapillary),
    _Format("mapillary-v1.2", mapillary.LOOKED_FOR_V1, mapillary.fit_mapillary_v1, mapillary.find_mapillary_v1),
    _Format("masks", label_maps.LOOKED_FOR, label_maps.fit_masks, label_maps.find_masks),
)

FORMATS = (_COCO, *(entry.name for entry in _OTHERS))
"""The names of the formats that are read."""


def find_source(
    root: str | Path,
    kind: str | None = None,
    train: str | Path | None = None,
    val: str | Path | None = None,
    train_images: str | Path | None = None,
    val_images: str | Path | None = None,
    stored: Path | None = None,
) -> Source:
    """Find out a data set's format, and its parts.

    Args:
        root: the data set's folder.
        kind: the format, one of `FORMATS`; None: as the names of files and folders say.
        train, val, train_images, val_images: as for `find_layout`; they go with COCO only, and mean it.
        stored: as for `find_labelme`.

    Raises:
        ConfigError: the format is unknown, or a setting does not go with it.
        DataError: no such folder; no format or several fit; a part of it is not as the format has it.
    """
    folder = Path(root)
    named = {"train": train, "val": val, "train_images": train_images, "val_images": val_images}
    given = next((name for name, value in named.items() if value is not None), None)
    if kind is not None and kind not in FORMATS:
        raise ConfigError(f"format {kind!r} is unknown{nearest(kind, FORMATS)}: choose {', '.join(FORMATS)}")
    if not folder.is_dir():
        find_layout(folder)  # says why not
    evidence = ""
    if kind is None:
        kind, evidence = (_COCO, f"data.{given}") if given is not None and (train or val) else _detect(folder)
    if kind == _COCO:
        layout = find_layout(folder, train, val, train_images, val_images)
        return Source(kind, evidence, *_coco_parts(layout))
    if given is not None:
        raise ConfigError(f"data.{given}: goes with the format coco; {printable(folder)} is {kind}")
    entry = next(entry for entry in _OTHERS if entry.name == kind)
    find = partial(labelme.find_labelme, stored=stored) if kind == "labelme" else entry.find
    try:
        parts = [find(folder, split) for split in ("train", "val")]
    except OSError as error:
        raise unreadable(error) from error
    if parts[0] is None and parts[1] is None:
        raise DataError(
            f"{printable(folder)}: no train and no val part of the format {kind}; looked for {entry.looked_for}"
        )
    return Source(kind, evidence, parts[0], parts[1])


def coco_part(annotations: Path, images: Path) -> Part:
    """Give the part that a COCO JSON file and the folder of its pictures make."""
    return Part(annotations, images, partial(_read_coco, annotations))


def _read_coco(path: Path, track: Track) -> Reading:
    return Reading(read_json(path), ())


def _coco_parts(layout: Layout) -> tuple[Part | None, Part | None]:
    def part(split: Split | None) -> Part | None:
        return None if split is None else coco_part(split.annotations, split.images)

    return part(layout.train), part(layout.val)


def _detect(root: Path) -> tuple[str, str]:
    """Give the one format that fits, and what it was recognised by; nothing is decoded."""
    found = [path.relative_to(root).as_posix() for pattern in _COCO_PATTERNS for path in sorted(root.glob(pattern))]
    fits = {_COCO: found[0]} if found else {}
    try:
        fits |= {entry.name: evidence for entry in _OTHERS if (evidence := entry.fit(root))}
    except OSError as error:
        raise unreadable(error) from error
    name = printable(root)
    if len(fits) > 1:
        both = " and ".join(f"{kind} ({printable(evidence)})" for kind, evidence in fits.items())
        raise DataError(f"{name}: unclear which format: {both} fit; set data.format (or --format) to one of them")
    if not fits:
        looked_for = "; ".join(
            [f"coco: {_COCO_LOOKED_FOR}", *(f"{entry.name}: {entry.looked_for}" for entry in _OTHERS)]
        )
        raise DataError(f"{name}: no annotations found; looked for {looked_for}{_hint(root)}")
    return next(iter(fits.items()))


def _hint(root: Path) -> str:
    """Name a folder below that holds a data set, if there is one."""
    for folder in sorted(entry for pattern in ("*", "*/*") for entry in root.glob(pattern) if entry.is_dir()):
        if any((folder / pattern).is_file() for pattern in _COCO_PATTERNS) or any(
            entry.fit(folder) for entry in _OTHERS
        ):
            return f". {printable(folder)} holds one: give that folder"
    return ""
