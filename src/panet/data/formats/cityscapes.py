"""Cityscapes: leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/*_gtFine_instanceIds.png.

A pixel of an object is 1000 x label + number of the object; where single objects could not be told apart, it is the
label alone: a group, which becomes a crowd. The classes are the eight that Cityscapes scores objects of.
"""

from pathlib import Path

from panet.data.formats.label_maps import find_objects, read_labels
from panet.data.formats.reading import Draft, Part, Reading, Track
from panet.data.images import printable
from panet.data.problems import Outcome
from panet.errors import DataError

__all__ = ["CLASSES", "LOOKED_FOR", "find_cityscapes", "fit_cityscapes"]

LOOKED_FOR = "leftImg8bit/ and gtFine/"

CLASSES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""The labels of Cityscapes' `labels.py` that have instances and are scored."""

_UNSCORED = (29, 30)  # caravan and trailer have instances, but nothing scores them
_PICTURE, _LABELS = "_leftImg8bit.png", "_gtFine_instanceIds.png"


def fit_cityscapes(root: Path) -> str:
    """Tell what of this format is there; empty if it is another."""
    return LOOKED_FOR if (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir() else ""


def find_cityscapes(root: Path, split: str) -> Part | None:
    """Find the train or the val part."""
    images, truth = root / "leftImg8bit" / split, root / "gtFine" / split
    if not images.is_dir() or not truth.is_dir():
        return None
    return Part(truth, images, lambda track: _read(images, truth, track))


def _read(images: Path, truth: Path, track: Track) -> Reading:
    draft = Draft(CLASSES)
    names = sorted(path.relative_to(images).as_posix() for path in images.glob(f"*/*{_PICTURE}"))
    if not names:
        raise DataError(f"{printable(images)}: holds no CITY/*{_PICTURE}")
    expected = {name.removesuffix(_PICTURE) + _LABELS for name in names}
    for extra in sorted({path.relative_to(truth).as_posix() for path in truth.glob(f"*/*{_LABELS}")} - expected):
        reason = f"its picture is not in {printable(images)}; its objects are left out"
        draft.tell(Outcome.WARN, "labels-without-picture", truth / extra, "", reason)
    for name in track(names):
        _add(draft, images, name, truth / (name.removesuffix(_PICTURE) + _LABELS))
    return draft.finish()


def _add(draft: Draft, images: Path, name: str, path: Path) -> None:
    pair = read_labels(draft, images / name, path)
    if pair is None:
        return
    labels, size = pair
    objects = list(find_objects(labels))
    unknown = [value for value, _ in objects if value >= 1000 and value // 1000 not in (*CLASSES, *_UNSCORED)]
    if unknown:
        reason = f"holds {unknown[0]}, and label {unknown[0] // 1000} has no single objects; use *{_LABELS} as released"
        draft.tell(Outcome.DROP_IMG, "label-unknown", path, "", reason)
        return
    number = draft.add_image(name, size)
    for value, positions in objects:
        label, is_group = (value, True) if value < 1000 else (value // 1000, False)
        if label in CLASSES:
            draft.add_mask(number, label, positions, size, f"{path.name} value {value}", crowd=is_group)
