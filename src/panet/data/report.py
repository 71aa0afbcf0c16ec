"""Reading the parts of a data set under one policy, and the report of what was found in them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panet.data.coco import CocoDataset, read_coco
from panet.data.images import printable
from panet.data.layout import Split
from panet.data.problems import BadDataError, OnBadData, Outcome, Problem, count_outcomes
from panet.errors import DataError

__all__ = ["REPORT_NAME", "Reading", "read_parts", "write_report"]

REPORT_NAME = "data_report.json"


@dataclass(frozen=True)
class Reading:
    """What was read of a data set.

    Args:
        datasets: one of each part, without its bad items; None: the part cannot be used at all.
        problems: of all parts.
    """

    datasets: tuple[CocoDataset | None, ...]
    problems: tuple[Problem, ...]

    @property
    def has_bad_items(self) -> bool:
        """Tell whether anything cannot be used."""
        return any(problem.outcome is not Outcome.WARN for problem in self.problems)

    def accept(self, on_bad_data: OnBadData) -> tuple[CocoDataset, ...]:
        """Give the data sets if the policy allows to use them.

        Raises:
            BadDataError: a part cannot be used, or in "strict" some item.
        """
        usable = [dataset for dataset in self.datasets if dataset is not None]
        if len(usable) < len(self.datasets) or (self.has_bad_items and on_bad_data == "strict"):
            raise BadDataError(self.problems)
        return tuple(usable)

    def to_document(self) -> dict[str, Any]:
        """Give the report as JSON: what was listed and what is used, part by part, then every problem."""
        return {
            "parts": [_describe(dataset) for dataset in self.datasets if dataset is not None],
            "outcomes": count_outcomes(self.problems),
            "rules": dict(Counter(problem.rule for problem in self.problems).most_common()),
            "problems": [problem.to_document() for problem in self.problems],
        }


def read_parts(splits: Sequence[Split], *, decode: bool = False) -> Reading:
    """Read the parts of a data set without their bad items; no problem of one hides those of another.

    Args:
        splits: where they are.
        decode: as for `read_coco`.
    """
    datasets: list[CocoDataset | None] = []
    problems: list[Problem] = []
    for split in splits:
        try:
            dataset = read_coco(split.annotations, split.images, "skip", decode=decode)
        except BadDataError as error:
            datasets.append(None)
            problems += error.problems
        else:
            datasets.append(dataset)
            problems += dataset.problems
    return Reading(tuple(datasets), tuple(problems))


def write_report(path: Path, reading: Reading, on_bad_data: OnBadData) -> None:
    """Write the report as a JSON file, and the folder it is in.

    Raises:
        DataError: it cannot be written.
    """
    document = {"on_bad_data": on_bad_data, **reading.to_document()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # an id may hold half a pair
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be written ({error.strerror})") from error


def _describe(dataset: CocoDataset) -> dict[str, Any]:
    images, annotations = dataset.num_listed
    return {
        "file": printable(dataset.path),
        "images": {"listed": images, "used": len(dataset)},
        "annotations": {"listed": annotations, "used": dataset.annotations.num_objects},
    }
