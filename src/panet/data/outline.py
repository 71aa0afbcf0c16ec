"""What a COCO file says as a whole: its three lists, its categories, its picture ids. If they are wrong, all is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from panet.data.findings import Findings
from panet.data.images import printable
from panet.data.records import is_id
from panet.structures import LabelMap

__all__ = ["Outline", "read_listed", "read_outline"]

_LONGEST_NAME = 1000  # characters: it stands in captions, tables and the model file
_BACKGROUND = ("background", "__background__", "_background_")


@dataclass(frozen=True)
class Outline:
    """The rows of a file, not looked at yet, and what they are about.

    Args:
        images: rows of pictures; at least one.
        annotations: rows of objects.
        label_map: labels 1..K for the category ids in ascending order.
        image_ids: of the rows of pictures that have one.
    """

    images: Sequence[object]
    annotations: Sequence[object]
    label_map: LabelMap
    image_ids: frozenset[int | str]


def read_outline(document: object, images_dir: Path, findings: Findings) -> Outline:
    """Check a document as a whole.

    Raises:
        BadDataError: it is none of COCO instance annotations, two pictures share an id, or the folder does not exist.
    """
    images, annotations, categories = (
        _rows(document, key, findings) for key in ("images", "annotations", "categories")
    )
    label_map = _read_categories(categories, findings)
    _check_pictures(images, images_dir, findings)
    if not annotations:
        findings.warn("no-annotations", "lists no annotations; nothing can be learnt from it")
    return Outline(images, annotations, label_map, _read_ids(images, findings))


def read_listed(document: object, images_dir: Path, findings: Findings) -> Sequence[object]:
    """Give the rows of pictures of a document that may have neither annotations nor categories.

    Raises:
        BadDataError: it lists no pictures, two of them share an id, or the folder does not exist.
    """
    images = _rows(document, "images", findings)
    _check_pictures(images, images_dir, findings)
    _read_ids(images, findings)
    return images


def _check_pictures(images: Sequence[object], images_dir: Path, findings: Findings) -> None:
    if not images_dir.is_dir():
        findings.stop("folder-missing", f"its folder of pictures {printable(images_dir)} does not exist")
    if not images:
        findings.stop("no-images", "lists no images")


def _rows(document: object, key: str, findings: Findings) -> Sequence[object]:
    if not isinstance(document, dict):
        findings.stop(
            "not-coco", f"the top level is a {type(document).__name__}; COCO needs an object{_hint(document)}"
        )
    rows = document.get(key)
    if not isinstance(rows, list):
        what = f"{key!r} is a {type(rows).__name__}" if key in document else f"has no {key!r}"
        findings.stop("not-coco", f"{what}; COCO instance annotations need a list of them{_hint(document)}")
    return rows


def _hint(document: object) -> str:
    """Say what else the file looks like."""
    if isinstance(document, dict) and "shapes" in document and "imagePath" in document:
        return "; this is a LabelMe file of one picture"
    if isinstance(document, list) and document and isinstance(document[0], dict) and "score" in document[0]:
        return "; this is a list of results"
    return ""


def _read_categories(rows: Sequence[object], findings: Findings) -> LabelMap:
    names: dict[int, str] = {}
    met: set[str] = set()
    for place, row in enumerate(rows):
        where = f"categories[{place}]"
        if not isinstance(row, dict) or type(row.get("id")) is not int:
            findings.stop("category-without-id", "has no integer id", where)
        number, name = row["id"], row.get("name")
        if not isinstance(name, str) or not name:
            findings.stop("category-without-name", f"category {number} has no name", where)
        if not _is_text(name):
            why = f"category {number} is called {name!r:.60}, with half a character in it; write its name again"
            findings.stop("category-name-unusable", why, where)
        if len(name) > _LONGEST_NAME:
            why = f"category {number} has a name of {len(name)} characters; at most {_LONGEST_NAME} are taken"
            findings.stop("category-name-unusable", why, where)
        if number in names:
            why = f"id {number} is already {names[number]!r:.60}; ids must differ"
            findings.stop("category-id-repeated", why, where)
        if name in met:
            findings.warn("category-name-repeated", f"another category is called {name!r:.60} too", where)
        if name.lower() in _BACKGROUND:
            why = f"{name!r} is a class like any other; remove it if its objects are none: background needs no category"
            findings.warn("category-background", why, where)
        names[number] = name
        met.add(name)
    if not names:
        findings.stop("no-categories", "lists no categories; there is nothing to tell apart")
    ids = sorted(names)
    return LabelMap(tuple(ids), tuple(names[number] for number in ids))


def _is_text(name: str) -> bool:
    """Tell text from what JSON can escape and no file can hold: half of a character's two halves."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_ids(rows: Sequence[object], findings: Findings) -> frozenset[int | str]:
    places: dict[int | str, int] = {}
    for place, row in enumerate(rows):
        number = row.get("id") if isinstance(row, dict) else None
        if not is_id(number):
            continue
        if number in places:
            why = f"its id {number!r:.60} is also that of images[{places[number]}]; ids must differ"
            findings.stop("image-id-repeated", why, f"images[{place}]")
        places[number] = place
    return frozenset(places)
