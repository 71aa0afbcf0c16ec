"""All checks, one after the other."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panet.data.images import printable
from panet.data.problems import Outcome
from panet.doctor.classes import count_classes, find_class_differences, find_class_problems
from panet.doctor.copies import find_look_alikes, find_same_files, read_thumbnails
from panet.doctor.fit import ModelFit, find_crowded_pictures, find_misfits, measure_objects
from panet.doctor.objects import find_duplicates, find_wrong_areas, find_wrong_boxes
from panet.doctor.opening import show_problems
from panet.doctor.outlines import find_crossings, find_leaving, find_specks
from panet.doctor.parts import Finding, Part
from panet.doctor.pictures import find_turned
from panet.doctor.rules import RULES

__all__ = ["Diagnosis", "Figures", "examine"]

_CHECKS = (
    show_problems,
    find_wrong_boxes,
    find_wrong_areas,
    find_crossings,
    find_specks,
    find_leaving,
    find_duplicates,
    find_turned,
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
        return any(finding.is_refused for finding in self.findings)

    def is_elsewhere(self, finding: Finding) -> bool:
        """Tell whether a finding is in another file than the annotations of its part, which go without saying."""
        own = {part.name: printable(part.dataset.path) for part in self.parts}
        return finding.problem.file not in ("", own.get(finding.part))


def examine(
    parts: Sequence[Part],
    model: ModelFit,
    decode: bool = False,
    unreadable: Sequence[Finding] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Diagnosis:
    """Look at everything.

    Args:
        parts: train, val or both, in this order.
        model: that the sizes are compared with.
        decode: decode every picture: finds damaged ones, and look-alikes in train and val.
        unreadable: what was found in parts that cannot be used at all.
        progress: called with 1 for each picture decoded.
    """
    findings = [*unreadable]
    figures: dict[str, Figures] = {}
    for part in parts:
        for check in _CHECKS:
            findings += check(part)
        figures[part.name] = numbers = _measure(part, model)
        findings += find_class_problems(part, numbers.classes)
        findings += find_misfits(part, numbers.sides, model)
        findings += find_crowded_pictures(part, model)
    findings += find_same_files(parts)
    if len(parts) == 2:
        findings += find_class_differences(parts[0], parts[1])
    if decode:
        findings += _decode(parts, findings, progress)
    return Diagnosis(tuple(parts), tuple(sorted(findings, key=_order)), figures, model, decode)


def _decode(parts: Sequence[Part], known: Sequence[Finding], progress: Callable[[int], None]) -> list[Finding]:
    """Give what only decoding finds; a picture that is in both parts byte for byte is not named again."""
    findings: list[Finding] = []
    thumbnails = []
    for part in parts:
        grey, broken = read_thumbnails(part, progress)
        thumbnails.append(grey)
        findings += broken
    if len(parts) == 2:
        findings += find_look_alikes(parts[0], parts[1], thumbnails)
    copies = {(f.part, f.image) for f in known if f.problem.rule == "same-file-in-both"}
    return [finding for finding in findings if (finding.part, finding.image) not in copies]


def _measure(part: Part, model: ModelFit) -> Figures:
    crowds = [part.dataset.annotations[image].crowd for image in range(len(part))]
    return Figures(
        objects_per_picture=np.array([int((~crowd).sum()) for crowd in crowds], dtype=np.int64),
        sides=measure_objects(part, model),
        classes=count_classes(part),
        num_crowds=sum(int(crowd.sum()) for crowd in crowds),
        picture_sizes=Counter((record.width, record.height) for record in part.dataset.images),
    )


def _order(finding: Finding) -> tuple[int, int, str, str]:
    rules = list(RULES)
    name = finding.problem.rule
    rank = rules.index(name) if name in RULES else -1
    return _SEVERITY.index(finding.problem.outcome), rank, name, finding.part
