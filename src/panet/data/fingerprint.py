"""Whether a data set is still the one that a run began with."""

import hashlib
import os

from panet.data.coco import CocoDataset

__all__ = ["fingerprint"]


def fingerprint(dataset: CocoDataset) -> dict[str, int | str]:
    """Give the numbers of pictures and objects, and the sha256 of all that is read of them but the pixels.

    Of a picture's file, which may have moved, it holds the name and the length: another picture has another one almost
    always, and to read all of them would take as long as an epoch.
    """
    digest = hashlib.sha256()
    for content in (*dataset.images.buffers(), *dataset.annotations.buffers()):
        digest.update(len(content.data).to_bytes(8) + content.tobytes())
    for record in dataset.images:
        digest.update(_length(record.path).to_bytes(8))
    return {"pictures": len(dataset), "objects": dataset.annotations.num_objects, "sha256": digest.hexdigest()}


def _length(path: "os.PathLike[str]") -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # gone since it was looked at; training says so
        return 0
