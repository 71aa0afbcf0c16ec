"""Pascal VOC: ImageSets/Segmentation/{train,val}.txt, JPEGImages/, SegmentationObject/ and SegmentationClass/.

A pixel of SegmentationObject is the number of its object, one of SegmentationClass its class; 0 is background and 255
void, which belongs to no object. The pictures are palette PNGs as released, or RGB in the colours of VOC or of
labelmap.txt, as annotation tools write them.
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panet.data.formats.label_maps import by_stem, find_objects
from panet.data.formats.reading import Draft, Part, Reading, Track, find_pictures, why
from panet.data.formats.texts import read_lines
from panet.data.images import printable, read_label_map
from panet.data.inspection import inspect_picture
from panet.data.problems import Outcome
from panet.errors import DataError
from panet.ops.rle import Positions
from panet.structures import Size

__all__ = ["CLASSES", "LOOKED_FOR", "colour_map", "find_voc", "fit_voc"]

LOOKED_FOR = "ImageSets/Segmentation/ (train.txt, val.txt) and SegmentationObject/"

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""VOC's own, by the number that a pixel of SegmentationClass has."""

_VOID = 255

Colour = tuple[int, int, int]


def fit_voc(root: Path) -> str:
    """Tell what of this format is there; empty if it is another."""
    lists, objects = root / "ImageSets" / "Segmentation", root / "SegmentationObject"
    return "ImageSets/Segmentation/ and SegmentationObject/" if lists.is_dir() and objects.is_dir() else ""


def find_voc(root: Path, split: str) -> Part | None:
    """Find the train or the val part."""
    listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not listed.is_file():
        return None
    for folder in ("JPEGImages", "SegmentationObject", "SegmentationClass"):
        if not (root / folder).is_dir():
            raise DataError(
                f"{printable(root / folder)}: no such folder; VOC keeps pictures, objects and classes apart"
            )
    return Part(listed, root / "JPEGImages", partial(_read, root, listed))


def colour_map() -> list[Colour]:
    """Give VOC's colour of each number 0..255: its bits, dealt to red, green and blue in turn."""
    return [
        tuple(sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3))  # type: ignore[misc]  # of three
        for number in range(256)
    ]


def _read(root: Path, listed: Path, track: Track) -> Reading:
    names, colours = _read_classes(root)
    draft = Draft({number: name for number, name in enumerate(names) if name != CLASSES[0]})
    pictures = by_stem(find_pictures(root / "JPEGImages"))
    seen: dict[str, int] = {}
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(listed), start=1) if line.strip()]
    if not lines:
        raise DataError(f"{printable(listed)}: lists no picture")
    for number, stem in track(lines):
        found = pictures.get(stem, [])
        if stem in seen:
            reason = f"{printable(stem)} is listed in line {seen[stem]} already; it is used once"
            draft.tell(Outcome.WARN, "picture-twice", listed, f"line {number}", reason)
        elif len(found) == 1:
            _add(draft, root, found[0], colours)
        else:
            what = f"has {len(found)} pictures" if found else "has no picture"
            reason = f"{printable(stem)} {what} in {printable(root / 'JPEGImages')}"
            draft.tell(Outcome.DROP_IMG, "picture-missing", listed, f"line {number}", reason)
        seen.setdefault(stem, number)
    return draft.finish()


def _read_classes(root: Path) -> tuple[list[str], list[Colour]]:
    """Give the class names and colours by number: those of labelmap.txt, else VOC's own."""
    path = root / "labelmap.txt"
    if not path.is_file():
        return list(CLASSES), colour_map()
    names: list[str] = []
    colours: list[Colour] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        shades = [shade.strip() for shade in rest.split(":")[0].split(",")]
        if not name.strip() or len(shades) != 3 or not all(shade.isdecimal() and len(shade) < 4 for shade in shades):
            raise DataError(f"{printable(path)}: line {number}: is not 'name:red,green,blue:parts:actions'")
        names.append(name.strip())
        colours.append((int(shades[0]), int(shades[1]), int(shades[2])))
    if len(names) < 2 or names[0] != CLASSES[0]:
        raise DataError(f"{printable(path)}: its first class must be background, and there must be another")
    return names, colours


def _add(draft: Draft, root: Path, name: str, class_colours: list[Colour]) -> None:
    size = draft.measure(root / "JPEGImages" / name)
    objects_path, classes_path = (
        root / folder / f"{Path(name).stem}.png" for folder in ("SegmentationObject", "SegmentationClass")
    )
    objects = classes = None
    if size is not None:
        objects = _read_numbers(draft, objects_path, size, colour_map())
        classes = _read_numbers(draft, classes_path, size, class_colours)
    if size is None or objects is None or classes is None:
        return
    number = draft.add_image(name, size)
    line = classes.T.reshape(-1)
    for value, positions in find_objects(objects):
        if value == _VOID:
            continue
        place = f"SegmentationObject/{objects_path.name} value {value}"
        found = _classes_under(line, positions)
        if len(found) == 1:
            draft.add_mask(number, found[0], positions, size, place)
            continue
        under = " and ".join(map(str, found)) if found else "none"
        reason = f"its pixels have the classes {under} in SegmentationClass; they must have one"
        draft.tell(Outcome.DROP_ANN, "class-unclear", objects_path, f"value {value}", reason)


def _classes_under(line: NDArray[np.integer], positions: Positions) -> list[int]:
    """Give the classes of an object's pixels, background and void left out; `line` is column by column."""
    runs = [np.unique(line[start:end]) for start, end in positions.reshape(-1, 2).tolist()]
    return [int(value) for value in np.unique(np.concatenate(runs)) if value not in (0, _VOID)]


def _read_numbers(draft: Draft, path: Path, size: Size, colours: list[Colour]) -> NDArray[np.integer] | None:
    """Read a picture of numbers, or of colours that stand for them; None, and a note, if that cannot be done."""
    try:
        inspect_picture(path)  # Pillow would read lines that are missing as background
        pixels = read_label_map(path)
        if pixels.shape[:2] != size:
            (height, width), picture = pixels.shape[:2], f"{size[1]} x {size[0]}"
            raise DataError(f"is {width} x {height} px, but its picture {picture}; save it in that size")
        return pixels if pixels.ndim == 2 else _to_numbers(pixels, colours)
    except DataError as error:
        draft.tell(Outcome.DROP_IMG, "labels-unreadable", path, "", why(error, path))
        return None


def _to_numbers(pixels: NDArray[np.integer], colours: list[Colour]) -> NDArray[np.integer]:
    """Give the number of each RGB pixel's colour."""
    keys = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    numbers = {(red << 16) + (green << 8) + blue: number for number, (red, green, blue) in enumerate(colours)}
    void = colour_map()[_VOID]
    numbers.setdefault((void[0] << 16) + (void[1] << 8) + void[2], _VOID)
    found, inverse = np.unique(keys, return_inverse=True)
    for key in found.tolist():
        if key not in numbers:
            colour = f"({key >> 16}, {key >> 8 & 255}, {key & 255})"
            raise DataError(f"holds the colour {colour}, which stands for no number in VOC's colours or labelmap.txt")
    return np.array([numbers[key] for key in found.tolist()])[inverse.reshape(keys.shape)]
