"""A picture of numbers -> the objects in it, exactly: each number's pixels become one run-length encoding."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from panet.data.formats.reading import Draft, Part, Reading, Track, find_pictures, why
from panet.data.images import EXTENSIONS, printable, read_label_map
from panet.data.inspection import inspect_picture
from panet.data.problems import Outcome
from panet.errors import DataError
from panet.ops.rle import Positions
from panet.structures import Size

__all__ = ["LOOKED_FOR", "LabelObject", "by_stem", "find_masks", "find_objects", "fit_masks", "read_labels"]

LOOKED_FOR = "images/ and masks/ with label maps of the same names (PNG or TIFF)"

_CATEGORY = {1: "object"}


class LabelObject(NamedTuple):
    """A number of a label map and where it is, as positions of `panet.ops.rle`."""

    value: int
    positions: Positions


def find_objects(labels: NDArray[np.integer], background: int | None = 0) -> Iterator[LabelObject]:
    """Give every number of an (H, W) label map but the background's, in ascending order.

    Costs the map once, however many numbers it holds.
    """
    line = labels.T.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])
    ends = np.append(starts[1:], len(line))
    values = line[starts]
    order = np.argsort(values, kind="stable")
    starts, ends, values = starts[order], ends[order], values[order]
    firsts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    for first, last in zip(firsts, np.append(firsts[1:], len(values)), strict=True):
        if values[first] != background:
            yield LabelObject(int(values[first]), np.stack([starts[first:last], ends[first:last]], axis=1).ravel())


def read_labels(draft: Draft, image: Path, path: Path) -> tuple[NDArray[np.integer], Size] | None:
    """Read the label map of a picture, and the picture's (height, width); None, and a note, if that cannot be done."""
    size = draft.measure(image)
    if size is None:
        return None
    try:
        inspect_picture(path)  # Pillow would read lines that are missing as background
        labels = read_label_map(path)
        if labels.ndim != 2:
            raise DataError("its pixels are RGB, not numbers; save the labels as a PNG of 8 or 16 bits")
        if labels.shape != size:
            (height, width), picture = labels.shape, f"{size[1]} x {size[0]}"
            raise DataError(f"is {width} x {height} px, but its picture {picture}; save it in that size")
        if labels.min() < 0:
            raise DataError(f"holds the number {labels.min()}; labels are 0 and above")
    except DataError as error:
        draft.tell(Outcome.DROP_IMG, "labels-unreadable", path, "", why(error, path))
        return None
    return labels, size


def fit_masks(root: Path) -> str:
    """Tell what of this format is there; empty if it is another."""
    pairs = [pair for split in ("train", "val") for pair in _folders(root, split)]
    return " and ".join(f"{folder.relative_to(root).as_posix()}/" for folder in pairs[0]) if pairs else ""


def find_masks(root: Path, split: str) -> Part | None:
    """Find a part: {split}/images and {split}/masks, images/{split} and masks/{split}; or both flat, for train."""
    pairs = _folders(root, split)
    if len(pairs) > 1:
        names = " and ".join(printable(masks.relative_to(root)) for _, masks in pairs)
        raise DataError(f"{printable(root)}: unclear which is the {split} part: {names}; keep one of them")
    if not pairs:
        return None
    images, masks = pairs[0]
    return Part(masks, images, lambda track: _read(images, masks, track))


def _folders(root: Path, split: str) -> list[tuple[Path, Path]]:
    names = [split] if split == "train" else ["val", "valid", "validation"]
    pairs = [(root / name / "images", root / name / "masks") for name in names]
    pairs += [(root / "images" / name, root / "masks" / name) for name in names]
    if split == "train" and not any((root / "masks" / name).is_dir() for name in ("train", "val", "valid")):
        pairs.append((root / "images", root / "masks"))
    return [(images, masks) for images, masks in pairs if images.is_dir() and masks.is_dir()]


def _read(images: Path, masks: Path, track: Track) -> Reading:
    draft = Draft(_CATEGORY)
    pictures = find_pictures(images)
    if not pictures:
        raise DataError(f"{printable(images)}: holds no picture ({', '.join(EXTENSIONS)})")
    maps = by_stem(find_pictures(masks))
    named = by_stem(pictures)
    for stem in sorted(maps.keys() - named.keys()):
        reason = f"no picture of that name is in {printable(images)}; its objects are left out"
        draft.tell(Outcome.WARN, "mask-without-picture", masks / maps[stem][0], "", reason)
    for name in track(pictures):
        stem = Path(name).stem
        found = maps.get(stem, [])
        if not found:
            reason = f"has no label map {printable(stem)}.png (or .tif) in {printable(masks)}"
            draft.tell(Outcome.DROP_IMG, "no-labels", images / name, "", reason)
        elif len(found) > 1 or len(named[stem]) > 1:
            names = " and ".join(printable(other) for other in (named[stem] if len(found) == 1 else found))
            draft.tell(Outcome.DROP_IMG, "labels-unclear", images / name, "", f"{names}: unclear which; keep one")
        else:
            _add(draft, images, name, masks / found[0])
    return draft.finish()


def by_stem(names: list[str]) -> dict[str, list[str]]:
    """Group file names by what they are called without their ending."""
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(Path(name).stem, []).append(name)
    return grouped


def _add(draft: Draft, images: Path, name: str, path: Path) -> None:
    pair = read_labels(draft, images / name, path)
    if pair is not None:
        labels, size = pair
        number = draft.add_image(name, size)
        for value, positions in find_objects(labels):
            draft.add_mask(number, 1, positions, size, f"{path.name} value {value}")
