"""What a user sees of a data set's problems: the first twenty, how many there are, and where all of them are."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from panet.data.problems import BadDataError, OnBadData, Outcome, Problem, count_outcomes

if TYPE_CHECKING:
    from panet.data.coco import CocoDataset
    from panet.data.report import Reading

__all__ = ["accept", "say_errors", "write_told"]

_NUM_SHOWN = 20


def say_errors(error: BadDataError) -> str:
    """Print why a data set cannot be used, to stderr: the first problems, then their numbers; give the first line."""
    order = (Outcome.FATAL, Outcome.DROP_IMG, Outcome.DROP_ANN)
    grave = [problem for problem in error.problems if problem.outcome in order]
    grave.sort(key=lambda problem: problem.outcome is not Outcome.FATAL)
    _say_lines("error", grave)
    if any(problem.outcome is not Outcome.FATAL for problem in grave):
        _say(f"error: {_count(error.problems)}; correct them, or leave them out with --on-bad-data skip")
    return str(grave[0])


def accept(
    reading: "Reading", on_bad_data: OnBadData, refused: Path | None, told: bool = True
) -> tuple["CocoDataset", ...]:
    """Give the data sets if the policy allows to use them; name what is left out, and what is only warned of.

    Args:
        reading: of all parts.
        on_bad_data: the policy.
        refused: where the report goes if they cannot be used; None: nowhere.
        told: whether anything is printed; False where another process prints the same.
    Raises:
        BadDataError: they cannot be used.
    """
    try:
        datasets = reading.accept(on_bad_data)
    except BadDataError:
        if refused is not None:
            write_told(refused, reading, on_bad_data)
        raise
    if not told:
        return datasets
    _say_lines("warning", [problem for problem in reading.problems if problem.outcome is Outcome.WARN])
    dropped = [problem for problem in reading.problems if problem.outcome is not Outcome.WARN]
    _say_lines("left out", dropped)
    if dropped:
        _say(f"left out: {_count(dropped)}{_consequence(datasets)}")
    return datasets


def write_told(path: Path, reading: "Reading", on_bad_data: OnBadData) -> None:
    """Write the report and say where; that it cannot be written ends nothing."""
    from panet.data.images import printable
    from panet.data.report import write_report
    from panet.errors import DataError

    try:
        write_report(path, reading, on_bad_data)
    except DataError as error:
        _say(f"warning: data report: {error}")
    else:
        _say(f"data report: {printable(path)}")


def _count(problems: Iterable[Problem]) -> str:
    counts = count_outcomes(problems)
    bad = f"{counts['drop_image']} images and {counts['drop_annotation']} annotations cannot be used"
    return f"{bad} ({counts['warn']} warnings)" if counts["warn"] else bad


def _consequence(datasets: Sequence["CocoDataset"]) -> str:
    listed = sum(dataset.num_listed[1] for dataset in datasets)
    used = sum(dataset.annotations.num_objects for dataset in datasets)
    return f"; {listed - used} of {listed} annotations are not used, those of bad images among them"


def _say_lines(kind: str, problems: Sequence[Problem]) -> None:
    for problem in problems[:_NUM_SHOWN]:
        _say(f"{kind}: {problem}")
    if len(problems) > _NUM_SHOWN:
        _say(f"{kind}: and {len(problems) - _NUM_SHOWN} more")


def _say(line: str) -> None:
    typer.echo("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line), err=True)
