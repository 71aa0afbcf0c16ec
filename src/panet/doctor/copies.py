"""Pictures that are there twice: the same file, or one that looks the same in train and in val."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panet.data.dataset import read_record
from panet.data.images import printable
from panet.doctor.parts import Finding, Part
from panet.errors import DataError

__all__ = ["Thumbnails", "find_look_alikes", "find_same_files", "read_thumbnails"]

_SIDE = 32  # px of a thumbnail
# Correlation of the thumbnails' slopes. Copies that were resized, compressed or made brighter have 0.99 and more,
# different photos and micrographs below 0.4.
_ALIKE = 0.9
_SHAPE = 0.03  # how far the logarithms of height / width may be apart
_FLAT = 0.5  # grey levels of slope; a picture with less has nothing to compare
_CHUNK = 2048  # pictures of train that are compared at once

Thumbnails: TypeAlias = NDArray[np.uint8]
"""(N, 32, 32) grey; all zero for a picture that could not be read."""


def find_same_files(parts: Sequence[Part]) -> Iterator[Finding]:
    """Find pictures with the same bytes, in one part or in both; only files of equal length are read."""
    by_length: dict[int, list[tuple[Part, int]]] = defaultdict(list)
    for part in parts:
        for image, record in enumerate(part.dataset.images):
            try:
                by_length[record.path.stat().st_size].append((part, image))
            except OSError:  # it was there when the annotations were read; decoding tells
                continue
    for group in by_length.values():
        if len(group) > 1:
            yield from _compare_files(group)


def read_thumbnails(part: Part, progress: Callable[[int], None]) -> tuple[Thumbnails, list[Finding]]:
    """Decode every picture of a part; give thumbnails, and what cannot be decoded."""
    thumbnails = np.zeros((len(part), _SIDE, _SIDE), dtype=np.uint8)
    broken = []
    for image, record in enumerate(part.dataset.images):
        try:
            pixels = read_record(record).permute(1, 2, 0).numpy()
        except DataError as error:
            broken.append(part.find("picture-damaged", str(error).partition(": ")[2] or str(error), image))
        else:
            grey = Image.fromarray(pixels).convert("L")
            thumbnails[image] = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX))
        progress(1)
    return thumbnails, broken


def find_look_alikes(train: Part, val: Part, thumbnails: Sequence[Thumbnails]) -> Iterator[Finding]:
    """Find pictures of val whose slopes of grey correlate with those of a picture of train by 0.9 or more.

    Slopes do not change with brightness, hardly with contrast, compression or size. One finding a picture of val, with
    the picture of train that is most alike.
    """
    slopes = _slopes(thumbnails[1])
    shapes = [np.log(part.dataset.images.sizes[:, 0] / part.dataset.images.sizes[:, 1]) for part in (train, val)]
    best = np.zeros(len(val))
    which = np.zeros(len(val), dtype=np.int64)
    for start in range(0, len(train), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        alike = _slopes(thumbnails[0][chunk]) @ slopes.T  # (chunk, N of val)
        alike[np.abs(shapes[0][chunk, None] - shapes[1][None]) > _SHAPE] = 0
        higher = alike.max(axis=0) > best
        which[higher] = start + alike.argmax(axis=0)[higher]
        best = np.maximum(best, alike.max(axis=0))
    for image in np.flatnonzero(best >= _ALIKE).tolist():
        twin = int(which[image])
        name = printable(train.dataset.images[twin].file_name)
        why = f"looks like {name} of train (correlation {best[image]:.3f})"
        yield val.find("near-duplicate-picture", why, image, twin=(train.name, twin))


def _compare_files(group: Sequence[tuple[Part, int]]) -> Iterator[Finding]:
    first: dict[bytes, tuple[Part, int]] = {}
    for part, image in group:
        path = part.dataset.images[image].path
        digest = _digest(path)
        if digest is None:
            continue
        earlier, twin = first.setdefault(digest, (part, image))
        if (earlier, twin) == (part, image):
            continue
        other = earlier.dataset.images[twin]
        name = printable(other.file_name)
        if earlier is not part:
            why = f"is {name} of {earlier.name}, byte for byte"
            yield part.find("same-file-in-both", why, image, twin=(earlier.name, twin))
        elif other.path != path:  # one file listed twice is found when the file is read
            yield part.find("same-file-twice", f"is {name}, byte for byte", image, twin=(part.name, twin))


def _digest(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:  # it cannot be opened either, which is found with its size
        return None


def _slopes(thumbnails: Thumbnails) -> NDArray[np.float32]:
    """Give (N, 1922) slopes to the right and down, without their mean, of length 1; zeros for a flat picture."""
    grey = thumbnails.astype(np.float32)
    across = np.diff(grey, axis=2)[:, :-1].reshape(len(grey), -1)
    down = np.diff(grey, axis=1)[:, :, :-1].reshape(len(grey), -1)
    slopes = np.concatenate([across, down], axis=1)
    slopes -= slopes.mean(axis=1, keepdims=True)
    length = np.linalg.norm(slopes, axis=1, keepdims=True)
    flat = length < _FLAT * np.sqrt(slopes.shape[1])
    return np.where(flat, np.float32(0), slopes / np.maximum(length, 1e-6))
