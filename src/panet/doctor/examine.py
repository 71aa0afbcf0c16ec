"""All checks, one after the other."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panet.data.problems import Outcome
from panet.doctor.classes import count_classes, find_class_differences, find_class_problems
from panet.doctor.copies import find_look_alikes, find_same_files, read_thumbnails
from panet.doctor.fit import ModelFit, find_crowded_pictures, find_misfits, measure_objects
from panet.doctor.objects import find_duplicates, find_wrong_areas, find_wrong_boxes
from panet.doctor.outlines import find_crossings, find_leaving, find_specks
from panet.doctor.parts import Finding, Part
from panet.doctor.pictures import find_wrong_sizes
from panet.doctor.rules import RULES

__all__ = ["Diagnosis", "Figures", "examine"]

_CHECKS = (
    find_wrong_boxes,
    find_wrong_areas,
    find_crossings,
    find_specks,
    find_leaving,
    find_duplicates,
    find_wrong_sizes,
)
_SEVERITY = (Outcome.FATAL, Outcome.DROP_IMG, Outcome.DROP_ANN, Outcome.WARN)


@dataclass(frozen=True)
class Figures:
    """The numbers of a part that its histograms show; crowds aside.

    Args:
        objects_per_picture: (N,).
        sides: (G, 2) width and height of the objects' boxes, input px.
        classes: (K,) objects of each class.
        num_crowds: annotations that stand for many objects.
        picture_sizes: (width, height) px -> pictures.
    """

    objects_per_picture: NDArray[np.int64]
    sides: NDArray[np.float64]
    classes: NDArray[np.int64]
    num_crowds: int
    picture_sizes: Counter[tuple[int, int]]


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a data set.

    Args:
        parts: one or two.
        findings: the gravest first, then by rule.
        figures: of each part, by its name.
        model: that the sizes were compared with.
        decoded: whether the pictures were decoded, and looked at for copies.
    """

    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    figures: dict[str, Figures]
    model: ModelFit
    decoded: bool

    @property
    def refused(self) -> bool:
        """Tell whether strict training would refuse the data set."""
        return any(finding.problem.outcome is not Outcome.WARN for finding in self.findings)


def examine(
    parts: Sequence[Part], model: ModelFit, decode: bool, progress: Callable[[int], None] = lambda _: None
) -> Diagnosis:
    """Look at everything.

    Args:
        parts: train, val or both, in this order.
        decode: decode every picture: finds damaged ones, and look-alikes in train and val.
        progress: called with 1 for each picture decoded.
    """
    findings: list[Finding] = []
    figures: dict[str, Figures] = {}
    for part in parts:
        findings += [Finding(problem, part.name, _place(part, problem.image_id)) for problem in part.problems]
        for check in _CHECKS:
            findings += check(part)
        figures[part.name] = numbers = _measure(part, model)
        findings += find_class_problems(part, numbers.classes)
        findings += find_misfits(part, numbers.sides, model)
        findings += find_crowded_pictures(part, model)
    findings += find_same_files(parts)
    if len(parts) == 2:
        findings += find_class_differences(*parts)
    if decode:
        findings += _decode(parts, findings, progress)
    return Diagnosis(tuple(parts), tuple(sorted(findings, key=_order)), figures, model, decode)


def _decode(parts: Sequence[Part], known: Sequence[Finding], progress: Callable[[int], None]) -> list[Finding]:
    """Give what only decoding finds: pictures already known to be refused or in both parts are not named again."""
    findings: list[Finding] = []
    thumbnails = []
    for part in parts:
        grey, broken = read_thumbnails(part, progress)
        thumbnails.append(grey)
        findings += broken
    if len(parts) == 2:
        findings += find_look_alikes(*parts, thumbnails)
    refused = {(f.part, f.image) for f in known if f.problem.outcome is not Outcome.WARN and not f.objects}
    refused |= {(f.part, f.image) for f in known if f.problem.rule in ("exif-stored-size", "same-file-in-both")}
    return [finding for finding in findings if (finding.part, finding.image) not in refused]


def _measure(part: Part, model: ModelFit) -> Figures:
    crowds = [part.dataset.annotations[image].crowd for image in range(len(part))]
    return Figures(
        objects_per_picture=np.array([int((~crowd).sum()) for crowd in crowds], dtype=np.int64),
        sides=measure_objects(part, model),
        classes=count_classes(part),
        num_crowds=sum(int(crowd.sum()) for crowd in crowds),
        picture_sizes=Counter((record.width, record.height) for record in part.dataset.images),
    )


def _place(part: Part, image_id: int | str | None) -> int | None:
    """Give the place of a picture that can be used."""
    ids = (image for image, record in enumerate(part.dataset.images) if record.id == image_id)
    return next(ids, None) if image_id is not None else None


def _order(finding: Finding) -> tuple[int, int, str, str]:
    rules = list(RULES)
    name = finding.problem.rule
    rank = rules.index(name) if name in RULES else -1
    return _SEVERITY.index(finding.problem.outcome), rank, name, finding.part
