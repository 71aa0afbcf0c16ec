"""YOLO segmentation as Ultralytics has it: a YAML file, pictures, and one text file of polygons a picture.

A line is `class x1 y1 x2 y2 ...`, one object: shares of the picture's width and height. Parts of an object are joined
by lines that go there and back and so enclose nothing: drawn as one polygon, in and out in turn, it is exact.
"""

from functools import partial
from pathlib import Path
from typing import Any

from panet.data.formats.reading import Draft, Part, Reading, Track, find_pictures, inside, why
from panet.data.formats.texts import read_lines, read_yaml
from panet.data.images import printable
from panet.data.problems import Outcome
from panet.errors import DataError, nearest
from panet.structures import Size

__all__ = ["LOOKED_FOR", "find_yolo", "fit_yolo", "label_name"]

LOOKED_FOR = "a YAML file (data.yaml) with 'names' and 'train' or 'val'"

_KEYS = {"train": ("train",), "val": ("val", "valid", "validation")}
_SLACK = 0.01  # of the picture: polygons of other formats reach over its edge a little


def fit_yolo(root: Path) -> str:
    """Tell what of this format is there; empty if it is another."""
    found = _find_yaml(root)
    return found[0].name if found else ""


def find_yolo(root: Path, split: str) -> Part | None:
    """Find the train or the val part, by the YAML file's own words.

    Raises:
        DataError: several YAML files, class names that are none, pictures that are not there or lead out of `root`.
    """
    found = _find_yaml(root)
    if len(found) > 1 and root / "data.yaml" not in found:
        names = " and ".join(printable(path.name) for path in found)
        raise DataError(
            f"{printable(root)}: unclear which file tells the classes: {names}; keep one, or name it data.yaml"
        )
    if not found:
        return None
    path = root / "data.yaml" if root / "data.yaml" in found else found[0]
    settings = read_yaml(path)
    key = next((key for key in _KEYS[split] if settings.get(key)), None)
    if key is None:
        return None
    classes = _read_names(path, settings)
    sources = settings[key] if isinstance(settings[key], list) else [settings[key]]
    base = _base(root, settings.get("path"))
    return Part(path, root, partial(_read, root, [_locate(path, key, root, base, name) for name in sources], classes))


def label_name(picture: str) -> str:
    """Give the label file of a picture, both below the data set's folder: labels/ for the last images/, and .txt."""
    head, middle, tail = f"/{picture}".rpartition("/images/")
    path = f"{head}/labels/{tail}" if middle else f"/{picture}"
    return Path(path[1:]).with_suffix(".txt").as_posix()


def _find_yaml(root: Path) -> list[Path]:
    """List the YAML files that could tell the classes of a YOLO data set; cheap: they are searched as text."""
    found = []
    for path in sorted(entry for entry in root.iterdir() if entry.suffix.lower() in (".yaml", ".yml")):
        if not path.is_file():
            continue
        keys = {
            line.partition(":")[0] for line in path.read_bytes()[:1_000_000].decode("utf-8", "replace").splitlines()
        }
        if "names" in keys and keys & {"train", *_KEYS["val"]}:
            found.append(path)
    return found


def _base(root: Path, stated: object) -> Path:
    """Give the folder that the YAML file's paths start from: its `path`, if that is below the root, else the root."""
    below = inside(root, stated) if isinstance(stated, str) else None
    return below if below is not None and below.is_dir() else root


def _locate(path: Path, key: str, root: Path, base: Path, name: object) -> Path:
    """Give a folder or a list of pictures that the YAML file names."""
    where = f"{printable(path)}: {key}: {printable(str(name))}"
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: must be a folder of pictures, a .txt list of them, or a list of such")
    while name.startswith("../") and inside(root, (base.relative_to(root) / name).as_posix()) is None:
        name = name[3:]  # Roboflow's paths start one folder too high
    found = inside(root, (base.relative_to(root) / name).as_posix())
    if found is None:
        raise DataError(f"{where}: leads out of {printable(root)}; write it relative to the folder of the YAML file")
    if not found.exists():
        beside = [entry.relative_to(base).as_posix() for entry in (*base.glob("*"), *base.glob("*/*"))]
        raise DataError(f"{where}: does not exist below {printable(base)}{nearest(name, beside)}")
    return found


def _read_names(path: Path, settings: dict[str, Any]) -> dict[int, str]:
    names, where = settings.get("names"), f"{printable(path)}: names"
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    if not isinstance(names, dict) or not names:
        raise DataError(f"{where}: must list the classes, as [cat, dog] or as 0: cat")
    classes: dict[int, str] = {}
    for key, name in names.items():
        if not key.isdecimal() or len(key) > 9 or not isinstance(name, str) or not name:
            raise DataError(f"{where}: {printable(key)!r}: is not a number with a class name")
        if int(key) in classes:
            raise DataError(f"{where}: class {int(key)} twice; keep one")
        classes[int(key)] = name
    stated = settings.get("nc")
    if stated is not None and stated != str(len(classes)):
        raise DataError(f"{printable(path)}: nc: is {printable(str(stated))}, but names lists {len(classes)}")
    return classes


def _read(root: Path, sources: list[Path], classes: dict[int, str], track: Track) -> Reading:
    draft = Draft(classes)
    pictures = [name for source in sources for name in _list_pictures(draft, root, source)]
    if not pictures:
        raise DataError(f"{' and '.join(map(printable, sources))}: no picture is there")
    for name in track(list(dict.fromkeys(pictures))):
        _add(draft, root, name, classes)
    known = {root / label_name(name) for name in pictures}
    folders = {path.parent for path in known if "labels" in path.relative_to(root).parts}
    for extra in sorted({path for folder in folders for path in folder.glob("*.txt")} - known):
        if extra.name != "classes.txt":
            draft.tell(Outcome.WARN, "labels-without-picture", extra, "", "has no picture; its objects are left out")
    return draft.finish()


def _list_pictures(draft: Draft, root: Path, source: Path) -> list[str]:
    """Give the pictures of a folder, or those that a text file lists, relative to the data set's folder."""
    if source.is_dir():
        return [(source / name).relative_to(root).as_posix() for name in find_pictures(source, nested=True)]
    found = []
    for number, line in enumerate(read_lines(source), start=1):
        path = inside(root, (source.parent.relative_to(root) / line.strip()).as_posix()) if line.strip() else root
        if path is None:
            reason = f"{printable(line.strip())} leads out of {printable(root)}; write it relative to this file"
            draft.tell(Outcome.DROP_IMG, "picture-outside", source, f"line {number}", reason)
        elif path != root:
            found.append(path.relative_to(root).as_posix())
    return found


def _add(draft: Draft, root: Path, name: str, classes: dict[int, str]) -> None:
    size = draft.measure(root / name)
    if size is None:
        return
    label_path = label_name(name)
    path = root / label_path
    try:
        lines = read_lines(path) if path.exists() or path.is_symlink() else []  # none: nothing is on the picture
    except DataError as error:
        draft.tell(Outcome.DROP_IMG, "labels-unreadable", path, "", why(error, path))
        return
    image_id = draft.add_image(name, size)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            category, polygon = _read_line(line, size, classes)
        except DataError as error:
            draft.tell(Outcome.DROP_ANN, "line-unreadable", path, f"line {number}", str(error))
        else:
            draft.add_polygons(image_id, category, [polygon], f"{label_path} line {number}")


def _read_line(line: str, size: Size, classes: dict[int, str]) -> tuple[int, list[float]]:
    """Give the class and the polygon, image px, of one object."""
    first, *words = line.split()
    if not first.isdecimal() or len(first) > 9 or int(first) not in classes:
        raise DataError(f"class {printable(first[:20])} is not among the {len(classes)} names of the YAML file")
    if len(words) == 4:
        raise DataError("is a box (4 numbers), not a polygon; a box alone cannot train masks")
    if len(words) < 6 or len(words) % 2:
        raise DataError(f"has {len(words)} numbers after the class; a polygon needs pairs x y of at least 3 points")
    shares = [_read_share(word) for word in words]
    height, width = size
    return int(first), [share * (height if place % 2 else width) for place, share in enumerate(shares)]


def _read_share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        raise DataError(f"{printable(word[:20])} is not a number") from None
    if not -_SLACK <= share <= 1 + _SLACK:
        raise DataError(f"{word[:20]} is not a share of the picture, 0..1; divide x by its width and y by its height")
    return share
