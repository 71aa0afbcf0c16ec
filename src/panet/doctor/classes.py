"""Classes: their names, whether they have objects, and whether train and val agree."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from panet.data.images import printable
from panet.doctor.parts import Finding, Part

__all__ = ["count_classes", "find_class_differences", "find_class_problems"]

_FEW = 10  # objects
_LISTED = 8  # names in one finding


def count_classes(part: Part) -> NDArray[np.int64]:
    """Count the objects of each class, crowds aside: (K,)."""
    counts = np.zeros(len(part.dataset.label_map), dtype=np.int64)
    for image in range(len(part)):
        objects = part.dataset.annotations[image]
        counts += np.bincount(objects.labels[~objects.crowd] - 1, minlength=len(counts))
    return counts


def find_class_problems(part: Part, counts: NDArray[np.int64]) -> Iterator[Finding]:
    """Find names that are the same but for writing, classes without objects and, in train, with fewer than ten."""
    names = part.dataset.label_map.names
    for same in _alike(names):
        listed = " and ".join(f"{printable(repr(names[i]))} ({counts[i]} objects)" for i in same)
        yield part.find("class-named-twice", f"classes {listed}")
    empty = np.flatnonzero(counts == 0).tolist()
    if part.name == "train" or len(empty) == len(names):
        for i in empty:
            number = part.dataset.label_map.category_ids[i]
            why = f"class {printable(repr(names[i]))} (category {number}) has no object in {part.name}"
            yield part.find("class-without-objects", why)
    few = [i for i in np.argsort(counts, kind="stable").tolist() if 0 < counts[i] < _FEW]
    if part.name == "train" and few:
        listed = ", ".join(f"{printable(repr(names[i]))} {counts[i]}" for i in few[:_LISTED])
        more = f" and {len(few) - _LISTED} more" if len(few) > _LISTED else ""
        largest = int(counts.argmax())
        why = f"{len(few)} of {len(names)} classes have fewer than {_FEW} objects: {listed}{more}"
        balance = f"; the largest is {printable(repr(names[largest]))} with {counts[largest]}"
        yield part.find("few-objects-of-class", why + balance)


def find_class_differences(train: Part, val: Part) -> Iterator[Finding]:
    """Find whether the two parts list different categories."""
    listed = [
        set(zip(part.dataset.label_map.category_ids, part.dataset.label_map.names, strict=True))
        for part in (train, val)
    ]
    only = [sorted(one - other) for one, other in (listed, listed[::-1])]
    if any(only):
        told = [
            f"only {part.name} has {', '.join(f'{number} {printable(repr(name))}' for number, name in rows[:_LISTED])}"
            for part, rows in zip((train, val), only, strict=True)
            if rows
        ]
        yield val.find("classes-differ", "; ".join(told))


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Group places of names that are equal in letters and digits."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        folded = unicodedata.normalize("NFKC", name).casefold()
        groups["".join(c for c in folded if c.isalnum()) or folded].append(i)
    # Names equal to the letter are found when the file is read.
    return [group for group in groups.values() if len({names[i] for i in group}) > 1]
