"""An ablation's numbers as JSON, as a table, and as sentences about what the pictures can and cannot tell apart."""

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from panet.ablation.comparison import MIN_PICTURES, Difference, RunScores, Score, compare, summarise
from panet.ablation.rows import Row

__all__ = ["Report", "RowReport", "main_metric", "make_report", "to_document", "to_markdown", "to_statement"]

_SHOWN = ("mask/AP", "mask/AP50", "mask/AP75", "box/AP")
_SHOWN_WITHOUT_MASKS = ("box/AP", "box/AP50", "box/AP75")


@dataclass(frozen=True)
class RowReport:
    """A row's numbers.

    Args:
        row: what was on.
        seconds: seed -> how long training and scoring took; None where that is not known.
        scores: metric -> score.
        to_before: metric -> difference to `row.before`; empty for the first.
        to_baseline: metric -> difference to the first row; empty for the first.
    """

    row: Row
    seconds: Mapping[int, float | None]
    scores: Mapping[str, Score]
    to_before: Mapping[str, Difference]
    to_baseline: Mapping[str, Difference]


@dataclass(frozen=True)
class Report:
    """Rows by name, those with a finished run; and how they were made.

    Args:
        rows: name -> its numbers; the first is the one that others are compared with.
        facts: what holds for all: base, steps, seeds, max_dets, draws ...
        num_pictures: that were scored.
        notes: what was left out, and why.
    """

    rows: Mapping[str, RowReport]
    facts: Mapping[str, Any]
    num_pictures: int
    notes: tuple[str, ...] = ()


def make_report(
    rows: Mapping[str, Row],
    runs: Mapping[str, Mapping[int, RunScores]],
    seconds: Mapping[str, Mapping[int, float | None]],
    facts: Mapping[str, Any],
    num_pictures: int,
    notes: tuple[str, ...] = (),
) -> Report:
    """Summarise and compare what is finished.

    Args:
        rows: name -> row, in the table's order.
        runs: name -> seed -> scores; rows without a run are left out.
        seconds: name -> seed -> how long it took.
        facts, num_pictures, notes: as in Report.
    """
    done = {name: runs[name] for name in rows if runs.get(name)}
    first = next(iter(done), "")

    def differences(name: str, other: str) -> dict[str, Difference]:
        if name == other or not any(seed in done[name] for seed in done.get(other, ())):
            return {}
        return {metric: compare(done[name], done[other], metric, num_pictures) for metric in _metrics(done[name])}

    reports = {
        name: RowReport(
            rows[name],
            seconds.get(name, {}),
            {metric: summarise(own, metric) for metric in _metrics(own)},
            differences(name, rows[name].before),
            differences(name, first),
        )
        for name, own in done.items()
    }
    return Report(reports, facts, num_pictures, notes)


def _metrics(runs: Mapping[int, RunScores]) -> tuple[str, ...]:
    return tuple(next(iter(runs.values())).scores)


def main_metric(report: Report) -> str:
    """Name what rows are judged by: the AP of masks, or of boxes where there are none."""
    has_masks = any("mask/AP" in row.scores for row in report.rows.values())
    return "mask/AP" if has_masks else "box/AP"


def to_document(report: Report) -> dict[str, Any]:
    """Give all numbers, for JSON; null where undefined."""
    rows = []
    for name, row in report.rows.items():
        rows.append(
            {
                "name": name,
                "label": row.row.label,
                "parts": list(row.row.parts),
                "before": row.row.before or None,
                "seconds": {str(seed): taken for seed, taken in row.seconds.items()},
                "scores": {metric: asdict(score) for metric, score in row.scores.items()},
                "to_before": {metric: asdict(each) for metric, each in row.to_before.items()},
                "to_baseline": {metric: asdict(each) for metric, each in row.to_baseline.items()},
            }
        )
    lines = to_statement(report)
    document = {**report.facts, "pictures": report.num_pictures, "rows": rows, "statement": lines}
    return {key: _nulls(value) for key, value in document.items()}


def _nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nulls(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_nulls(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def to_markdown(report: Report) -> str:
    """Give the table and the statement."""
    main = main_metric(report)
    shown = _SHOWN if main == "mask/AP" else _SHOWN_WITHOUT_MASKS
    names = [metric.replace("/", " ") for metric in shown]
    head = ["setting", f"{names[0]} (95 %)", *names[1:], "to the row it adds to (95 %)", "to the first row (95 %)"]
    lines = [_line([*head, "seeds", "minutes a run"]), _line(["---"] * (len(head) + 2))]
    for row in report.rows.values():
        cells = [f"{row.row.label}", _score(row.scores[main])]
        cells += [_number(row.scores[metric].mean) if metric in row.scores else "-" for metric in shown[1:]]
        cells += [_change(each[main]) if each else "-" for each in (row.to_before, row.to_baseline)]
        known = [taken for taken in row.seconds.values() if taken is not None]
        minutes = f"{statistics.mean(known) / 60:.1f}" if known else "-"
        lines.append(_line([*cells, str(len(row.scores[main].by_seed)), minutes]))
    return "\n".join(["# Ablation", "", *lines, "", *(f"- {text}" for text in to_statement(report)), ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _score(score: Score) -> str:
    return f"{_number(score.mean)} ({_number(score.interval.low)} to {_number(score.interval.high)})"


def _change(change: Difference) -> str:
    text = f"{change.mean:+.3f} ({change.interval.low:+.3f} to {change.interval.high:+.3f})"
    return f"**{text}**" if change.verdict in ("higher", "lower") else text


def to_statement(report: Report) -> list[str]:
    """Say what can be told apart, row by row, and what the intervals mean."""
    if not report.rows:
        return ["no run is finished"]
    main = main_metric(report)
    first = next(iter(report.rows.values())).row.label
    lines = list(report.notes)
    for row in report.rows.values():
        before = report.rows[row.row.before].row.label if row.to_before else ""
        if row.to_before:
            lines.append(f"{row.row.label} against {before}: {_sentence(row.to_before[main], main)}")
        if row.to_baseline and before != first:
            lines.append(f"{row.row.label} against {first}: {_sentence(row.to_baseline[main], main)}")
    return lines + list(_limits(report, main))


def _sentence(change: Difference, metric: str) -> str:
    same = sum(value > 0 for value in change.by_seed)
    name = metric.replace("/", " ")
    return f"{name} {_change(change).strip('*')}, higher with {same} of {len(change.by_seed)} seeds: {change.verdict}"


def _limits(report: Report, main: str) -> Iterator[str]:
    """Say what the intervals cover, and how small a difference is too small here."""
    changes = [row.to_before[main] for row in report.rows.values() if row.to_before]
    widths = [(each.interval.high - each.interval.low) / 2 for each in changes]
    widths = [width for width in widths if not math.isnan(width)]
    if report.num_pictures < MIN_PICTURES:
        yield f"{report.num_pictures} pictures are too few to tell anything apart; {MIN_PICTURES} at least are needed"
    elif widths:
        name = main.replace("/", " ")
        yield f"differences below about {statistics.median(widths):.3f} {name} cannot be told apart by these pictures"
    yield (
        f"intervals: 95 % of what {report.num_pictures} pictures drawn again with replacement give, the same draws for "
        "both rows; they do not cover other seeds, so a verdict also wants every seed to agree"
    )
    num_seeds = max(len(row.scores[main].by_seed) for row in report.rows.values())
    if num_seeds == 1:
        yield "one seed: a difference may be the seed's"
    if len(changes) > 1:
        yield "each comparison stands alone: of 20 where nothing differs, one may be called different"
