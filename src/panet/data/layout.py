"""Where a data set's annotations and pictures lie, for the layouts people have. Nothing is guessed between two."""

from dataclasses import dataclass
from pathlib import Path

from panet.data.images import printable
from panet.errors import DataError

__all__ = ["Layout", "Split", "find_layout"]

# Under the data set's folder, annotations -> folders their pictures may be in. `*` stands for a year or nothing.
_KNOWN = {
    "train": (
        ("train.json", ("images", "train")),
        ("train/_annotations.coco.json", ("train",)),
        ("annotations/instances_train*.json", ("train*", "images")),
    ),
    "val": (
        ("val.json", ("images", "val")),
        ("valid/_annotations.coco.json", ("valid",)),
        ("val/_annotations.coco.json", ("val",)),
        ("annotations/instances_val*.json", ("val*", "images")),
    ),
}


@dataclass(frozen=True)
class Split:
    """A COCO JSON file and the folder its file names start from."""

    annotations: Path
    images: Path


@dataclass(frozen=True)
class Layout:
    """The parts of a data set; at least one of them."""

    train: Split | None
    val: Split | None


def find_layout(
    root: str | Path,
    train: str | Path | None = None,
    val: str | Path | None = None,
    train_images: str | Path | None = None,
    val_images: str | Path | None = None,
) -> Layout:
    """Find the annotations and pictures of a data set.

    Known layouts: train.json, val.json and images/ (or train/ and val/); Roboflow's train/_annotations.coco.json and
    valid/ (or val/); COCO's annotations/instances_{train,val}2017.json with train2017/ and val2017/.

    Args:
        root: the data set's folder.
        train, val: annotation files, if elsewhere; relative to `root`, or to the working directory.
        train_images, val_images: their folders of pictures, likewise.
    Raises:
        DataError: something named does not exist, nothing is found, or more than one thing fits.
    """
    folder = Path(root)
    if not folder.is_dir():
        hint = "; give the data set's folder" if folder.is_file() else ""
        raise DataError(f"{printable(folder)}: no such folder{hint}")
    layout = Layout(_find_split(folder, "train", train, train_images), _find_split(folder, "val", val, val_images))
    if layout.train is None and layout.val is None:
        wanted = ", ".join(pattern for known in _KNOWN.values() for pattern, _ in known)
        raise DataError(f"{printable(folder)}: no annotations found; looked for {wanted}")
    return layout


def _find_split(root: Path, split: str, annotations: str | Path | None, images: str | Path | None) -> Split | None:
    if annotations is not None:
        path = _named(root, annotations)
        return Split(path, _find_images(root, split, path, ("images", split, f"{split}*"), images))
    found = [(path, folders) for pattern, folders in _KNOWN[split] for path in _list(root, pattern)]
    if not found:
        if images is not None:
            raise DataError(f"{printable(root)}: data.{split}_images is given, but no {split} annotations are there")
        return None
    if len(found) > 1:
        names = " and ".join(printable(path.relative_to(root)) for path, _ in found)
        raise DataError(f"{printable(root)}: unclear which is the {split} part: {names}; set data.{split}")
    path, folders = found[0]
    return Split(path, _find_images(root, split, path, folders, images))


def _list(root: Path, pattern: str) -> list[Path]:
    """Give what a pattern stands for; a link to nothing too, so that it is told of and not passed over."""
    path = root / pattern
    return [path] if path.is_symlink() else sorted(root.glob(pattern))


def _find_images(root: Path, split: str, annotations: Path, folders: tuple[str, ...], named: str | Path | None) -> Path:
    if named is not None:
        return _named(root, named)
    year = annotations.stem.removeprefix(f"instances_{split}")
    patterns = [folder.replace("*", year) if annotations.match("annotations/*") else folder for folder in folders]
    found = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_dir()})
    if len(found) == 1:
        return found[0]
    what = "more than one folder" if found else "no folder"
    wanted = ", ".join(f"{pattern}/" for pattern in patterns)
    raise DataError(
        f"{printable(annotations)}: {what} of pictures found among {wanted} in {printable(root)}; "
        f"set data.{split}_images"
    )


def _named(root: Path, name: str | Path) -> Path:
    """Give a path that the user named: inside the data set's folder, or else from the working directory."""
    for path in (root / name, Path(name)):
        if path.exists():
            return path
    raise DataError(f"{printable(name)}: does not exist, neither in {printable(root)} nor here")
