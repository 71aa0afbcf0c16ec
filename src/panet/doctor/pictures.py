"""The stated sizes of pictures against their files' headers, and what EXIF does to them."""

from collections.abc import Iterator

from panet.data.images import read_header
from panet.doctor.parts import Finding, Part
from panet.errors import DataError
from panet.structures import Size

__all__ = ["find_wrong_sizes"]

_TURNS = {
    2: "mirrored",
    3: "upside down",
    4: "mirrored and upside down",
    5: "mirrored and on its side",
    6: "on its side",
    7: "mirrored and on its side",
    8: "on its side",
}


def find_wrong_sizes(part: Part) -> Iterator[Finding]:
    """Find pictures whose upright size is not the stated one, that EXIF turns, or whose header cannot be read."""
    for image, record in enumerate(part.dataset.images):
        stated: Size = record.height, record.width
        try:
            size, orientation = read_header(record.path)
        except DataError as error:
            yield part.find("unreadable-picture", _reason(error), image)
            continue
        if size == stated:
            if orientation != 1:
                why = f"stored {_TURNS[orientation]} (EXIF orientation {orientation}); its annotations are for it upright"
                yield part.find("exif-turned", why, image)
            continue
        rule, why = _compare(stated, size, orientation)
        yield part.find(rule, why, image, frame=(record.width, record.height))


def _compare(stated: Size, size: Size, orientation: int) -> tuple[str, str]:
    """Name the way in which a picture's size differs from the stated one."""
    (height, width), (own_height, own_width) = stated, size
    told = f"stated as {width} x {height}, its file has {own_width} x {own_height}"
    if (width, height) == (own_height, own_width):
        if orientation >= 5:
            return "exif-stored-size", f"{told} upright (EXIF orientation {orientation})"
        return "size-swapped", told
    factor = own_width / width
    if abs(own_height - height * factor) <= max(1.0, factor) and not 0.98 < factor < 1.02:
        return "size-scaled", f"{told}: {factor:.4g} times as large"
    return "size-differs", told


def _reason(error: DataError) -> str:
    """Give an error's text without the file's name before it."""
    return str(error).partition(": ")[2] or str(error)
