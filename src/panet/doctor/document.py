"""A diagnosis as JSON, and files that are written whole, never below the data."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from panet.data.images import printable
from panet.data.problems import count_outcomes
from panet.doctor.examine import Diagnosis
from panet.doctor.rules import rule_of
from panet.errors import DataError

__all__ = ["check_place", "dump", "to_document", "write_text"]


def to_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """Give all of a diagnosis: parts, counts, the rules that found something, and every finding."""
    problems = [finding.problem for finding in diagnosis.findings]
    counts = Counter(problem.rule for problem in problems)
    rules = {problem.rule: rule_of(problem) for problem in problems}
    return {
        "refused": diagnosis.refused,
        "decoded": diagnosis.decoded,
        "model": {**vars(diagnosis.model)},
        "parts": {part.name: _part(diagnosis, part.name) for part in diagnosis.parts},
        "outcomes": count_outcomes(problems),
        "rules": {
            name: {"count": counts[name], "what": rule.title, "why_it_matters": rule.matters, "what_to_do": rule.remedy}
            for name, rule in rules.items()
        },
        "findings": [{"part": finding.part, **finding.problem.to_document()} for finding in diagnosis.findings],
    }


def _part(diagnosis: Diagnosis, name: str) -> dict[str, Any]:
    part = next(part for part in diagnosis.parts if part.name == name)
    figures = diagnosis.figures[name]
    names = part.dataset.label_map.names
    return {
        "annotations": printable(part.dataset.path),
        "pictures": len(part),
        "pictures_listed": part.dataset.num_listed[0],
        "pictures_without_object": int((figures.objects_per_picture == 0).sum()),
        "objects": int(figures.objects_per_picture.sum()),
        "crowds": figures.num_crowds,
        "annotations_listed": part.dataset.num_listed[1],
        "classes": [[name, number] for name, number in zip(names, figures.classes.tolist(), strict=True)],
    }


def check_place(path: Path, guarded: Iterable[Path], overwrite: bool) -> None:
    """Refuse to write where nothing may be written.

    Args:
        path: of the file to be.
        guarded: folders of the data; nothing in them is ever written, by whatever link.
        overwrite: whether a file that exists may be replaced.
    Raises:
        DataError: the place is below the data, exists, is a folder, or its folder does not exist.
    """
    name = printable(path)
    for folder in guarded:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise DataError(
                f"{name}: lies in the data set {printable(folder)}, where nothing is written; choose another"
            )
    if path.is_dir():
        raise DataError(f"{name}: is a folder; give a file")
    if os.path.lexists(path) and not overwrite:
        raise DataError(f"{name}: exists; add --overwrite, or choose another file")
    if not path.parent.is_dir():
        raise DataError(f"{name}: its folder does not exist; make it, or choose another")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(part, path)
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)


def dump(content: object) -> str:
    """Give JSON text: ASCII, so that any name survives, and nothing that is not JSON."""
    return json.dumps(content, allow_nan=False)
