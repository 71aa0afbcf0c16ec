"""One row of `images` in a COCO file -> one checked record. An error says what is wrong; the caller says where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from panet.data.folders import PictureFolder
from panet.data.inspection import PictureSizes
from panet.data.problems import RowError
from panet.errors import DataError
from panet.ops.rle import MAX_PIXELS

__all__ = ["ImageRecord", "Note", "is_finite", "is_id", "read_image_record"]

Note = Callable[[str, str], None]
"""Takes (rule, why) of what is only warned of."""

_LARGEST = 1e300  # NaN compares false with it


@dataclass(frozen=True)
class ImageRecord:
    """One picture: its id and name in the COCO file, where it lies, and its size in px.

    The size is that of the upright picture; where the annotations are for the pixels as they are stored, it is theirs.
    """

    id: int | str
    file_name: str
    path: Path
    height: int
    width: int


def read_image_record(
    row: object, folder: PictureFolder, inspect: Callable[[Path], PictureSizes], note: Note
) -> ImageRecord:
    """Check a row of `images`, and the picture it names; `inspect` gives the sizes of a picture that is whole.

    Raises:
        RowError: the row, or the picture, cannot be used.
    """
    if not isinstance(row, dict):
        raise RowError("image-not-object", f"is a {type(row).__name__}, not an object")
    number, file_name = row.get("id"), row.get("file_name")
    if not is_id(number):
        why = "has no id" if number is None else f"id {number!r:.60} is neither an integer nor a text"
        raise RowError("image-without-id", why)
    if not isinstance(file_name, str) or not file_name:
        raise RowError("image-without-name", "has no file_name")
    height, width = _read_side(row, "height"), _read_side(row, "width")
    if height * width > MAX_PIXELS:
        why = f"{width} x {height} pixels: a picture may have at most {MAX_PIXELS}; tile it first"
        raise RowError("image-too-large", why)
    path = folder.find(file_name)
    try:
        sizes = inspect(path)
    except DataError as error:
        raise RowError("picture-damaged", str(error)) from error
    if height == 0 or width == 0:
        note(
            "size-missing", f"states no width and height: {sizes.upright[1]} x {sizes.upright[0]} px are the picture's"
        )
        height, width = sizes.upright
    if (height, width) != sizes.upright:
        if (height, width) != sizes.stored:
            raise RowError(
                "size-not-the-pictures",
                f"states {width} x {height} px, but {file_name} has {sizes.upright[1]} x {sizes.upright[0]}; "
                "correct width and height, or the picture",
            )
        note("size-before-exif", f"{file_name} is annotated as it is stored: its EXIF orientation is not followed")
    return ImageRecord(number, file_name, path, height, width)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Tell a finite number from anything else, from bools and from integers that no float holds."""
    return type(value) in (int, float) and -_LARGEST < value < _LARGEST  # type: ignore[operator]  # a number


def is_id(value: object) -> TypeGuard[int | str]:
    """Tell what can be an id from anything else, from bools too."""
    return type(value) in (int, str)


def _read_side(row: Mapping[str, object], key: str) -> int:
    """Give a side in px; 0 where it is not stated."""
    side = row.get(key)
    if side is None:
        return 0
    if not is_finite(side) or side != int(side) or side < 0:
        raise RowError("size-not-whole", f"{key} is {side!r:.60}; it must be a whole number of pixels")
    return int(side)
