"""What every format is read into: a COCO document, the folder its pictures lie in, and what was wrong on the way."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from panet.data.coco import CocoDataset, read_document
from panet.data.images import EXTENSIONS, printable, read_size
from panet.data.problems import BadDataError, OnBadData, Outcome, Problem
from panet.errors import DataError
from panet.ops.rle import Positions, measure_area, measure_box, write_positions
from panet.structures import Size

__all__ = [
    "Draft",
    "Part",
    "Reading",
    "Track",
    "check_reading",
    "find_pictures",
    "inside",
    "open_part",
    "read_part",
    "unreadable",
    "untracked",
    "why",
]

_T = TypeVar("_T")


class Track(Protocol):
    """Goes through items one by one, and may show how far it is."""

    def __call__(self, items: Sequence[_T], /) -> Iterable[_T]: ...


def untracked(items: Sequence[_T], /) -> Iterable[_T]:
    """Go through items and show nothing."""
    return items


class Reading(NamedTuple):
    """A COCO document, as JSON would give it, and what is wrong with items that are not in it."""

    document: dict[str, Any]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Part:
    """The train or val part of a data set, not read yet.

    Args:
        place: the file or folder that tells its annotations, for messages.
        images: the folder its file names start from.
        read: gives the document; takes what goes through the files.
    """

    place: Path
    images: Path
    read: Callable[[Track], Reading]


def read_part(
    part: Part, on_bad_data: OnBadData = "strict", *, decode: bool = False, track: Track = untracked
) -> CocoDataset:
    """Read a part of a data set of any format, and check it as COCO JSON is checked.

    Args:
        part: from `find_source`.
        on_bad_data, decode: as for `read_coco`.
        track: goes through the files.

    Raises:
        BadDataError: as `read_coco`; or a file of the format cannot be read.
    """
    return check_reading(part, open_part(part, track), on_bad_data, decode=decode)


def open_part(part: Part, track: Track = untracked) -> Reading:
    """Read a part into a COCO document that is not checked yet; BadDataError if a file of the format cannot be read."""
    try:
        return part.read(track)
    except BadDataError:
        raise
    except OSError as error:
        raise BadDataError([Problem(Outcome.FATAL, "format-unreadable", "", "", str(unreadable(error)))]) from error
    except DataError as error:
        raise BadDataError([Problem(Outcome.FATAL, "format-unreadable", "", "", str(error))]) from error


def check_reading(
    part: Part, reading: Reading, on_bad_data: OnBadData = "strict", *, decode: bool = False
) -> CocoDataset:
    """Check what `open_part` gave of a part, as `read_part` does."""
    document, problems = reading
    bad = any(problem.outcome is not Outcome.WARN for problem in problems)
    if bad and not (document["images"] and document["categories"]):  # that nothing is left is not what to tell
        raise BadDataError(problems)
    return read_document(part.place, document, part.images, on_bad_data, decode=decode, found=problems)


class Draft:
    """A COCO document in the making. Pictures are numbered 1..N; an annotation's id is its place in the files."""

    def __init__(self, categories: Mapping[int, str]) -> None:
        """Take the names of the category ids."""
        self._categories = dict(categories)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._problems: list[Problem] = []

    def measure(self, path: Path) -> Size | None:
        """Give a picture's upright (height, width); None, and a note, if it cannot be read."""
        try:
            return read_size(path)
        except DataError as error:
            self.tell(Outcome.DROP_IMG, "picture-unreadable", path, "", why(error, path))
            return None

    def add_image(self, file_name: str, size: Size) -> int:
        """Add a picture of that (height, width); give its id."""
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": file_name, "height": size[0], "width": size[1]})
        return number

    def add_mask(
        self, image_id: int, category_id: int, positions: Positions, size: Size, place: str, *, crowd: bool = False
    ) -> None:
        """Add an object of pixels, as `panet.ops.rle` has them."""
        x1, y1, x2, y2 = measure_box(positions, size[0])
        self._annotations.append(
            {
                "id": place,
                "image_id": image_id,
                "category_id": category_id,
                "segmentation": write_positions(positions, *size),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": measure_area(positions),
                "iscrowd": int(crowd),
            }
        )

    def add_polygons(self, image_id: int, category_id: int, polygons: list[list[float]], place: str) -> None:
        """Add an object of polygons [x1, y1, x2, y2, ...], image px; the box is that of their corners, as in COCO."""
        xs = [x for polygon in polygons for x in polygon[::2]]
        ys = [y for polygon in polygons for y in polygon[1::2]]
        row: dict[str, Any] = {
            "id": place,
            "image_id": image_id,
            "category_id": category_id,
            "segmentation": polygons,
            "iscrowd": 0,
        }
        if max(xs) > min(xs) and max(ys) > min(ys):  # else the mask says what is wrong
            row["bbox"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        self._annotations.append(row)

    def tell(self, outcome: Outcome, rule: str, file: Path, place: str, reason: str) -> None:
        """Note what is wrong with an item that is left out, or odd about one that is not."""
        self._problems.append(Problem(outcome, rule, printable(file), place, reason))

    def finish(self) -> Reading:
        """Give what was added."""
        categories = [{"id": number, "name": name} for number, name in self._categories.items()]
        document = {"images": self._images, "annotations": self._annotations, "categories": categories}
        return Reading(document, tuple(self._problems))


def why(error: DataError, path: Path) -> str:
    """Give an error's text without the file's name in front."""
    return str(error).removeprefix(f"{printable(path)}: ")


def unreadable(error: OSError) -> DataError:
    """Give the line that tells which file or folder the system would not read."""
    return DataError(f"{printable(str(error.filename))}: cannot be read ({error.strerror})")


def find_pictures(folder: Path, *, nested: bool = False) -> list[str]:
    """List the pictures of a folder by their endings, sorted, relative to it; in its folders too if they may nest."""
    found = folder.rglob("*") if nested else folder.iterdir()
    return sorted(
        path.relative_to(folder).as_posix() for path in found if path.suffix.lower() in EXTENSIONS and path.is_file()
    )


def inside(root: Path, name: str) -> Path | None:
    """Give the path that a name stands for below a folder; None if it leads out of it."""
    if "\0" in name or Path(name).is_absolute():
        return None
    parts: list[str] = []
    for part in Path(name.replace("\\", "/")).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return root.joinpath(*parts)
