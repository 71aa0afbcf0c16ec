"""A diagnosis as one HTML page: nothing is loaded from elsewhere, no script, every name escaped."""

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import zip_longest

from panet import __version__
from panet.data.images import printable
from panet.data.problems import Outcome
from panet.doctor.crops import draw_finding
from panet.doctor.examine import Diagnosis
from panet.doctor.figures import draw_figures
from panet.doctor.parts import Finding
from panet.doctor.rules import rule_of
from panet.doctor.style import STYLE
from panet.errors import DataError

__all__ = ["CROPS", "write_page"]

CROPS = 8
"""Pictures shown for one rule."""

_LISTED = 50  # findings of one rule listed in words
_OUTCOMES = {
    Outcome.WARN: "warning",
    Outcome.DROP_ANN: "annotation refused",
    Outcome.DROP_IMG: "picture refused",
    Outcome.FATAL: "file refused",
}


def write_page(diagnosis: Diagnosis, title: str) -> str:
    """Give the page; `title` names the data set. Its size is bounded: 8 crops of at most 360 px a rule."""
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for finding in diagnosis.findings:
        by_rule[finding.problem.rule].append(finding)
    key = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{key}'"
    name = escape(printable(title))
    body = [
        f"<h1>{name}</h1>",
        f'<p class="soft">What <code>panet doctor</code> {escape(__version__)} found</p>',
        _verdict(diagnosis),
        _parts(diagnosis),
        _rules(diagnosis, by_rule),
        f"<h2>Figures</h2>{draw_figures(diagnosis)}" if diagnosis.parts else "",
        *(_section(diagnosis, rule, findings) for rule, findings in by_rule.items()),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name} - panet doctor</title>\n<style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _verdict(diagnosis: Diagnosis) -> str:
    refused = sum(finding.problem.outcome is not Outcome.WARN for finding in diagnosis.findings)
    if refused:
        items = "1 finding is" if refused == 1 else f"{refused:,} findings are"
        return f'<p class="verdict bad">{items} refused by training with --on-bad-data strict</p>'
    warnings = len(diagnosis.findings)
    told = {0: "Nothing found", 1: "1 warning"}.get(warnings, f"{warnings:,} warnings")
    return f'<p class="verdict good">{told}; nothing that training refuses</p>'


def _parts(diagnosis: Diagnosis) -> str:
    columns = []
    for part in diagnosis.parts:
        figures = diagnosis.figures[part.name]
        numbers = {
            "pictures": len(part),
            "objects": int(figures.objects_per_picture.sum()),
            "crowds": figures.num_crowds,
            "pictures without object": int((figures.objects_per_picture == 0).sum()),
            "classes": len(figures.classes),
        }
        columns.append({name: f"{number:,}" for name, number in numbers.items()})
    if not columns:
        return '<p class="card">No part of it can be read.</p>'
    names = [f"{part.name}<br>{escape(printable(part.dataset.path.name))}" for part in diagnosis.parts]
    rows = {title: [column[title] for column in columns] for title in columns[0]}
    return _table("", names, {escape(title): cells for title, cells in rows.items()})


def _table(first: str, names: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Tabulate HTML: the first column in words, the others numbers."""
    head = "".join(f'<th class="number">{name}</th>' for name in names)
    body = ""
    for title, cells in rows.items():
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        body += f"<tr><td>{title}</td>{numbers}</tr>"
    return f'<div class="card table"><table><tr><th>{first}</th>{head}</tr>{body}</table></div>'


def _rules(diagnosis: Diagnosis, by_rule: dict[str, list[Finding]]) -> str:
    """Tabulate the rules with their counts; each leads to its section."""
    if not by_rule:
        return ""
    names = sorted({finding.part for finding in diagnosis.findings})
    rows = {}
    for rule, findings in by_rule.items():
        counts = Counter(finding.part for finding in findings)
        link = f'<a href="#{escape(rule)}">{escape(rule_of(findings[0].problem).title)}</a> {_chip(findings[0])}'
        rows[link] = [f"{counts[name]:,}" for name in names]
    return f"<h2>Findings</h2>{_table('finding', names, rows)}"


def _section(diagnosis: Diagnosis, name: str, findings: Sequence[Finding]) -> str:
    rule = rule_of(findings[0].problem)
    texts = {"Why it matters": rule.matters, "What to do": rule.remedy, "--fix": rule.fix or "changes nothing here"}
    told = "".join(f"<dt>{title}</dt><dd>{escape(text)}</dd>" for title, text in texts.items())
    head = f"{escape(rule.title)} <code>{escape(name)}</code> {_chip(findings[0])} <span>{len(findings):,}</span>"
    crops = _crops(diagnosis, findings)
    shown = f'{_key(findings)}<div class="crops">{"".join(crops)}</div>' if crops else ""
    words = _list(diagnosis, findings, is_open=not crops) if len(crops) < len(findings) else ""
    return f'<section class="card rule" id="{escape(name)}"><h3>{head}</h3><dl>{told}</dl>{shown}{words}</section>'


def _crops(diagnosis: Diagnosis, findings: Sequence[Finding]) -> list[str]:
    shown: list[str] = []
    for finding in _by_turns(findings):
        if not finding.can_be_drawn or len(shown) == CROPS:
            continue
        try:
            crop = draw_finding(finding, diagnosis.parts)
        except DataError:  # it cannot be shown; the list has it in words
            continue
        where, why = escape(_where(diagnosis, finding)), escape(_why(diagnosis, finding))
        source = base64.b64encode(crop).decode()
        shown.append(
            f'<figure><div class="frame"><img alt="{where}" src="data:image/jpeg;base64,{source}"></div>'
            f"<figcaption><b>{where}</b>{why}</figcaption></figure>"
        )
    return shown


def _by_turns(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Give the findings of the parts by turns, so that the crops show both."""
    by_part: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_part[finding.part].append(finding)
    for turn in zip_longest(*by_part.values()):
        yield from (finding for finding in turn if finding is not None)


def _key(findings: Sequence[Finding]) -> str:
    """Tell what the colours of the crops mean."""
    first = findings[0]
    entries = {}
    if first.twin is None and first.frame is None and not first.is_refused:
        entries["mask"] = "mask"
    if first.objects:
        entries["stored"] = "stored box"
    if len(first.objects) == 2:
        entries["outline"] = "the other mask"
    elif first.outlines:
        entries["outline"] = "polygon"
    if first.frame is not None:
        entries["stored"] = "stated size"
    if first.spots:
        entries["spot"] = "place"
    colours = "".join(f'<span><i class="{kind}"></i>{text}</span>' for kind, text in entries.items())
    return f'<p class="key">{colours}</p>'


def _list(diagnosis: Diagnosis, findings: Sequence[Finding], is_open: bool) -> str:
    rows = "".join(
        f"<li><b>{escape(_where(diagnosis, finding))}</b> {escape(_why(diagnosis, finding))}</li>"
        for finding in findings[:_LISTED]
    )
    more = len(findings) - _LISTED
    rest = f"<li>and {more:,} more, which <code>panet doctor --json</code> lists</li>" if more > 0 else ""
    state = " open" if is_open else ""
    return f"<details{state}><summary>In words ({len(findings):,})</summary><ul>{rows}{rest}</ul></details>"


def _where(diagnosis: Diagnosis, finding: Finding) -> str:
    """Give part, file and place, without the folders that lead to the data: a page is for showing to others."""
    file = finding.problem.file.rpartition("/")[2] if diagnosis.is_elsewhere(finding) else ""
    return ": ".join(text for text in (finding.part, file, finding.problem.place) if text) or "data set"


def _why(diagnosis: Diagnosis, finding: Finding) -> str:
    """Give what is wrong, likewise."""
    why = finding.problem.why
    for part in diagnosis.parts:
        folder = part.dataset.images.folder
        why = why.replace(printable(folder), printable(folder.name))
    return why


def _chip(finding: Finding) -> str:
    outcome = finding.problem.outcome
    kind = "chip warn" if outcome is Outcome.WARN else "chip"
    return f'<span class="{kind}">{_OUTCOMES[outcome]}</span>'
