"""All rules by their names."""

from panet.data.problems import Outcome, Problem
from panet.doctor.rule import Rule
from panet.doctor.rules_of_looking import RULES_OF_LOOKING
from panet.doctor.rules_of_reading import RULES_OF_READING

__all__ = ["RULES", "rule_of"]

RULES: dict[str, Rule] = {**RULES_OF_READING, **RULES_OF_LOOKING}

_FIXES = {
    Outcome.FATAL: "cannot be fixed here",
    Outcome.DROP_IMG: "leaves the picture out",
    Outcome.DROP_ANN: "leaves the annotation out",
    Outcome.WARN: "",
}


def rule_of(problem: Problem) -> Rule:
    """Give the texts of a problem's rule; of one without, the problem itself says what to do."""
    outcome = problem.outcome
    title = problem.rule.replace("-", " ")
    unknown = Rule(outcome, title, "training cannot use it as it is", "see each finding", _FIXES[outcome])
    return RULES.get(problem.rule, unknown)
