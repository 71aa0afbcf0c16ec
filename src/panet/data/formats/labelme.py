"""LabelMe: one JSON file a picture, in train/ and val/, or all in one folder, which is the train part.

Shapes of one label and one `group_id` are parts of one object; without a group, each is an object. Polygons are drawn
by COCO's rule; a rectangle is its four corners, a circle a polygon at most 0.05 px off it, a mask its pixels.
"""

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from panet.data.documents import read_json
from panet.data.formats.reading import Draft, Part, Reading, Track, inside, why
from panet.data.formats.shapes import FLAT, Block, read_shape, unite
from panet.data.formats.texts import read_lines
from panet.data.images import printable
from panet.data.problems import Outcome
from panet.errors import DataError, nearest
from panet.structures import Size

__all__ = ["LOOKED_FOR", "find_labelme", "fit_labelme"]

LOOKED_FOR = "LabelMe's JSON files (with 'shapes') in train/ and val/, or in the folder itself"

_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation")}
_SEEN = 8  # files of a folder that are looked into
_MAX_BYTES = 100_000_000  # a file above that is no picture's
_NO_CLASS = ("__ignore__", "_background_")  # LabelMe's own words in labels.txt


def fit_labelme(root: Path) -> str:
    """Tell what of this format is there; empty if it is another."""
    folders = [*(root / name for names in _FOLDERS.values() for name in names), root]
    found = next(
        (path for folder in folders for path in sorted(folder.glob("*.json"))[:_SEEN] if _is_labelme(path)), None
    )
    return found.relative_to(root).as_posix() if found is not None else ""


def find_labelme(root: Path, split: str, stored: Path | None = None) -> Part | None:
    """Find a part: the JSON files in its folder, or for train those in `root` where neither part has a folder.

    Args:
        root: the data set's folder.
        split: train or val.
        stored: an empty folder elsewhere, for pictures that are in the JSON files alone (`imageData`): with it, all
            pictures are links in there, or are written there. Without it, such pictures are missing.
    """
    files = {part: _list_files(root, part) for part in _FOLDERS}
    if not any(files.values()):
        files["train"] = sorted(root.glob("*.json"))
    if not files[split]:
        return None
    others = [path for part, paths in files.items() if part != split for path in paths]
    folder = next((root / name for name in _FOLDERS[split] if (root / name) in files[split][0].parents), root)
    return Part(folder, stored or root, partial(_read, root, files[split], others, stored))


def _list_files(root: Path, split: str) -> list[Path]:
    return [path for name in _FOLDERS[split] for path in sorted((root / name).rglob("*.json"))]


def _is_labelme(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        return False
    content = path.read_bytes()
    return b'"shapes"' in content and b'"imagePath"' in content


def _read(root: Path, files: list[Path], others: list[Path], stored: Path | None, track: Track) -> Reading:
    told: list[tuple[Path, str]] = []
    documents: dict[Path, dict[str, Any]] = {}
    for path in track(files):
        try:
            documents[path] = _read_file(path)
        except DataError as error:
            told.append((path, why(error, path)))
    names = _read_names(root, documents, others)
    draft = Draft(dict(enumerate(names, start=1)))
    for path, reason in told:
        draft.tell(Outcome.DROP_IMG, "file-unreadable", path, "", reason)
    numbers = {name: number for number, name in enumerate(names, start=1)}
    for path, document in documents.items():
        _add(draft, root, path, document, numbers, stored)
    return draft.finish()


def _read_file(path: Path) -> dict[str, Any]:
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise DataError("has no list 'shapes'; it is not a LabelMe file")
    return {**document, "imageData": isinstance(document.get("imageData"), str)}  # its bytes are not needed


def _read_names(root: Path, documents: dict[Path, dict[str, Any]], others: list[Path]) -> list[str]:
    """Give the class names: those of labels.txt, else all labels of all parts, by the alphabet."""
    path = root / "labels.txt"
    if path.is_file():
        names = [line.strip() for line in read_lines(path) if line.strip() and line.strip() not in _NO_CLASS]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None or not names:
            what = f"lists {printable(twice)!r} twice" if twice is not None else "lists no label"
            raise DataError(f"{printable(path)}: {what}; write each label once, one a line")
        return names
    found = {label for document in documents.values() for label in _labels(document)}
    for other in others:
        try:
            found.update(_labels(_read_file(other)))
        except DataError:  # it is told where its own part is read
            continue
    return sorted(found)


def _labels(document: dict[str, Any]) -> Iterator[str]:
    for row in document["shapes"]:
        label = row.get("label") if isinstance(row, dict) and row.get("shape_type") not in FLAT else None
        if isinstance(label, str) and label and label not in _NO_CLASS:
            yield label


def _add(
    draft: Draft, root: Path, path: Path, document: dict[str, Any], numbers: dict[str, int], stored: Path | None
) -> None:
    try:
        name = _find_picture(root, path, document, stored)
    except DataError as error:
        draft.tell(Outcome.DROP_IMG, "picture-missing", path, "", str(error))
        return
    size = draft.measure((stored or root) / name)
    if size is None:
        return
    stated = (document.get("imageHeight"), document.get("imageWidth"))
    if any(side is not None for side in stated) and stated != size:
        height, width = (printable(f"{side!r:.40}") for side in stated)
        reason = f"says {width} x {height} px, but its picture is {size[1]} x {size[0]}; annotate it as it is"
        draft.tell(Outcome.DROP_IMG, "size-differs", path, "", reason)
        return
    image_id = draft.add_image(name, size)
    for (label, _), places in _group(draft, path, document["shapes"], numbers).items():
        _add_object(draft, (image_id, numbers[label]), size, path, document["shapes"], places)


def _find_picture(root: Path, path: Path, document: dict[str, Any], stored: Path | None) -> str:
    """Give the picture that a file is about, below `root` or, where that is given, below `stored`."""
    stated = document.get("imagePath")
    if not isinstance(stated, str) or not stated:
        raise DataError("has no 'imagePath', the name of its picture")
    found = inside(root, (path.parent.relative_to(root) / stated.replace("\\", "/")).as_posix())
    if found is None or Path(stated).is_absolute():
        raise DataError(f"imagePath {printable(stated)} leads out of {printable(root)}; keep the pictures below it")
    name = found.relative_to(root).as_posix()
    try:
        if stored is not None and (found.is_file() or document["imageData"]):
            _store(stored / name, found, path)
            return name
        if found.is_file():
            return name
    except OSError as error:
        raise DataError(f"imagePath {printable(stated[:60])}: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise DataError(f"imagePath {printable(stated[:60])} holds half a character; rename the picture") from error
    hint = nearest(found.name, [entry.name for entry in found.parent.glob("*") if entry.suffix != ".json"])
    if document["imageData"]:
        hint += "; its pixels are in the file's imageData: `panet convert` writes them out"
    raise DataError(f"its picture {printable(stated)} is not there{hint}")


def _store(place: Path, found: Path, path: Path) -> None:
    """Make a picture a link at `place`, or write it there from the JSON file's imageData."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():  # two files about one picture
        return
    if found.is_file():
        place.symlink_to(found.absolute())
        return
    try:
        place.write_bytes(base64.b64decode(read_json(path)["imageData"], validate=True))
    except ValueError as error:
        raise DataError(f"its imageData is not base64 ({error})") from error


def _group(draft: Draft, path: Path, rows: list[Any], numbers: dict[str, int]) -> dict[tuple[str, object], list[int]]:
    """Give the places of the shapes of each object, by label and group (or place, for a shape without a group)."""
    groups: dict[tuple[str, object], list[int]] = {}
    for place, row in enumerate(rows):
        label = row.get("label") if isinstance(row, dict) else None
        group = row.get("group_id") if isinstance(row, dict) else None
        if label in _NO_CLASS:
            continue
        if not isinstance(label, str) or not label:
            draft.tell(Outcome.DROP_ANN, "label-missing", path, f"shapes[{place}]", "has no label")
        elif row.get("shape_type") in FLAT:
            reason = f"a {row['shape_type']} has no area; it is left out"
            draft.tell(Outcome.WARN, "shape-without-area", path, f"shapes[{place}]", reason)
        elif label not in numbers:
            reason = f"label {printable(label)!r} is not in labels.txt{nearest(label, numbers)}"
            draft.tell(Outcome.DROP_ANN, "label-unknown", path, f"shapes[{place}]", reason)
        elif group is not None and type(group) not in (int, str):
            reason = f"group_id is {printable(repr(group))[:40]}; it must be a whole number"
            draft.tell(Outcome.DROP_ANN, "group-unreadable", path, f"shapes[{place}]", reason)
        else:
            groups.setdefault((label, (place,) if group is None else group), []).append(place)
    return groups


def _add_object(draft: Draft, ids: tuple[int, int], size: Size, path: Path, rows: list[Any], places: list[int]) -> None:
    """Add one object of a picture and a class; if one of its shapes is bad, none of it."""
    where = f"shapes[{', '.join(map(str, places))}]"
    parts: list[list[float] | Block] = []
    try:
        for place in places:
            where_part = f"shapes[{place}]"
            parts.append(read_shape(rows[place]))
        where_part = where
        united = unite(parts, size)
    except DataError as error:
        draft.tell(Outcome.DROP_ANN, "shape-unreadable", path, where_part, str(error))
        return
    if isinstance(united, list):
        draft.add_polygons(*ids, united, f"{path.name} {where}")
    else:
        draft.add_mask(*ids, united, size, f"{path.name} {where}")
