"""A diagnosis for the terminal: what was looked at, a table of counts, the first examples of each rule."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from panet.data.images import printable
from panet.data.problems import Outcome
from panet.doctor.examine import Diagnosis
from panet.doctor.parts import Finding
from panet.doctor.repair import Change
from panet.doctor.rules import rule_of

__all__ = ["describe_changes", "describe_parts", "describe_rules", "describe_verdict", "rule_table"]

_EXAMPLES = 3  # of one rule
_OUTCOMES = {
    Outcome.WARN: "warning",
    Outcome.DROP_ANN: "annotation refused",
    Outcome.DROP_IMG: "picture refused",
    Outcome.FATAL: "file refused",
}


def describe_parts(diagnosis: Diagnosis) -> Iterator[str]:
    """Give a line about each part."""
    for part in diagnosis.parts:
        figures = diagnosis.figures[part.name]
        num_empty = int((figures.objects_per_picture == 0).sum())
        yield (
            f"{part.name}: {len(part):,} pictures, {int(figures.objects_per_picture.sum()):,} objects, "
            f"{figures.num_crowds:,} crowds, {num_empty:,} pictures without object, "
            f"{len(figures.classes):,} classes ({printable(part.dataset.path)})"
        )


def rule_table(diagnosis: Diagnosis) -> Table:
    """Tabulate what was found: a row a rule, a column a part."""
    names = sorted({finding.part for finding in diagnosis.findings})
    table = Table("outcome", "rule", *names)
    for column in table.columns[2:]:
        column.justify = "right"
    for rule, findings in _by_rule(diagnosis).items():
        counts = Counter(finding.part for finding in findings)
        outcome = _OUTCOMES[findings[0].problem.outcome]
        table.add_row(outcome, Text(rule), *(f"{counts[name]:,}" for name in names))
    return table


def describe_rules(diagnosis: Diagnosis) -> Iterator[str]:
    """Give of each rule what it found, why it matters and what to do, then its first findings."""
    for name, findings in _by_rule(diagnosis).items():
        rule = rule_of(findings[0].problem)
        yield f"{name}: {rule.title}"
        yield f"  why it matters: {rule.matters}"
        yield f"  what to do: {rule.remedy}"
        for finding in findings[:_EXAMPLES]:
            file = finding.problem.file if diagnosis.is_elsewhere(finding) else ""
            told = (finding.part, file, finding.problem.place, finding.problem.why)
            yield f"  {': '.join(part for part in told if part)}"
        if len(findings) > _EXAMPLES:
            yield f"  and {len(findings) - _EXAMPLES:,} more"


def describe_verdict(diagnosis: Diagnosis) -> str:
    """Give the last line."""
    num_refused = sum(finding.is_refused for finding in diagnosis.findings)
    decoded = "" if diagnosis.decoded else "; pixels were not looked at: add --decode"
    if num_refused:
        return f"{_count(num_refused, 'finding')} would be refused by training with --on-bad-data strict{decoded}"
    warnings = f"{_count(len(diagnosis.findings), 'warning')}, " if diagnosis.findings else ""
    return f"{warnings}nothing that training would refuse{decoded}"


def describe_changes(changes: Sequence[Change]) -> Iterator[str]:
    """Give the number of changes of each rule, and the first ones."""
    groups: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        groups[change.rule].append(change)
    for rule, group in groups.items():
        yield f"  {rule}: {len(group):,}"
        yield from (f"    {change}" for change in group[:_EXAMPLES])
        if len(group) > _EXAMPLES:
            yield f"    and {len(group) - _EXAMPLES:,} more"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _by_rule(diagnosis: Diagnosis) -> dict[str, list[Finding]]:
    """Group the findings, in their order."""
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in diagnosis.findings:
        groups[finding.problem.rule].append(finding)
    return groups
