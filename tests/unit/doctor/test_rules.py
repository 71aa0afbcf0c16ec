"""Every rule has its texts, and the manual has every rule."""

import re
from pathlib import Path

import pytest

from panet.data.problems import Outcome, Problem
from panet.doctor.rules import RULES, rule_of

ROOT = Path(__file__).resolve().parents[3]


def test_every_rule_of_reading_has_texts() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src" / "panet" / "data").glob("*.py"))
    pattern = r"(?:RowError|stop|warn|note|_refuse)\(\s*(?:path, )?\"([a-z-]+)\""
    names = set(re.findall(pattern, source))
    assert len(names) > 40
    assert names - set(RULES) == set()


def test_the_manual_lists_every_rule() -> None:
    manual = (ROOT / "docs" / "doctor.md").read_text()
    for name, rule in RULES.items():
        assert f"| `{name}` | {rule.title} |" in manual, name


@pytest.mark.parametrize("rule", RULES.values())
def test_texts_are_clauses_without_a_stop(rule: object) -> None:
    for text in rule[1:4]:  # type: ignore[index]
        assert text
        assert not text.endswith((".", ";", ":"))


def test_a_rule_without_texts_is_told_by_its_name() -> None:
    problem = Problem(Outcome.DROP_ANN, "some-new-rule", "a.json", "annotation 1", "is odd")
    assert rule_of(problem).title == "some new rule"
    assert rule_of(problem).fix == "leaves the annotation out"
