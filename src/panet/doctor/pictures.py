"""The stated sizes of pictures against their files' headers, and what EXIF does to them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from panet.data.images import open_picture, orientation, printable, read_size
from panet.data.problems import Problem
from panet.doctor.parts import Finding, Part
from panet.errors import DataError
from panet.structures import Size

__all__ = ["explain_size", "find_turned", "is_swapped"]

_TURNS = {
    2: "mirrored",
    3: "upside down",
    4: "mirrored and upside down",
    5: "mirrored and on its side",
    6: "on its side",
    7: "mirrored and on its side",
    8: "on its side",
}


def find_turned(part: Part) -> Iterator[Finding]:
    """Find pictures that EXIF turns or mirrors, and whose annotations are for them upright."""
    noted = {problem.image_id for problem in part.dataset.problems if problem.rule == "size-before-exif"}
    for image, record in enumerate(part.dataset.images):
        if record.id in noted:
            continue
        try:
            with open_picture(record.path) as picture:
                turn = _orientation(picture)
        except DataError:  # the file has changed since it was read; decoding tells
            continue
        if turn in _TURNS:
            why = f"stored {_TURNS[turn]} (EXIF orientation {turn}); its annotations are taken to be for it upright"
            yield part.find("exif-turned", why, image)


def explain_size(part: Part, problem: Problem, row: Mapping[str, Any]) -> tuple[Problem, Path, Size]:
    """Say of a picture whose size is not the stated one in which way it differs.

    Args:
        part: that has the picture.
        problem: of the rule "size-not-the-pictures".
        row: the picture's in the file, width and height checked.
    Returns:
        the problem, more exactly; the picture's file and its upright (height, width).
    """
    path = part.dataset.images.folder / row["file_name"]
    height, width = read_size(path)
    stated_height, stated_width = int(row["height"]), int(row["width"])
    told = (
        f"{printable(row['file_name'])} is stated as {stated_width} x {stated_height}, its file has {width} x {height}"
    )
    if is_swapped(row, (height, width)):
        return replace(problem, rule="size-swapped", why=told), path, (height, width)
    factor = width / stated_width
    if abs(height - stated_height * factor) <= max(1.0, factor) and not 0.98 < factor < 1.02:
        why = f"{told}: {factor:.4g} times as large"
        return replace(problem, rule="size-scaled", why=why), path, (height, width)
    return problem, path, (height, width)


def is_swapped(row: Mapping[str, Any], size: Size) -> bool:
    """Tell whether a row of `images` states a picture's (height, width) the other way round."""
    return (row["width"], row["height"]) == size


def _orientation(picture: Image.Image) -> int:
    """Give the EXIF orientation; of a PNG only what stands before its pixels, for the rest costs decoding."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    return orientation(picture)
