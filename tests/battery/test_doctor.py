"""The doctor on every case of the battery: it names it, draws it, and what it writes can be used."""

import json

import pytest

from battery import annotations, pictures
from battery.case import FATAL, OK
from panet.data.coco import read_coco
from panet.data.formats.source import coco_part
from panet.data.problems import Outcome
from panet.doctor.document import dump, to_document
from panet.doctor.examine import examine
from panet.doctor.fit import ModelFit
from panet.doctor.opening import open_part
from panet.doctor.page import write_page
from panet.doctor.parts import Part
from panet.doctor.repair import repair

CASES = pictures.CASES + annotations.CASES
MODEL = ModelFit("any", (16.0, 32.0), (0.5, 1.0, 2.0), 60, 90, "modern", 100)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_every_case_is_named_drawn_and_corrected(case, bench, tmp_path):
    case.spoil(bench)
    bench.write()
    opened = open_part("train", coco_part(bench.json, bench.images))
    parts, unreadable = ([opened], ()) if isinstance(opened, Part) else ([], opened)
    diagnosis = examine(parts, MODEL, decode=True, unreadable=unreadable)
    found = {finding.problem.rule: finding.problem.outcome for finding in diagnosis.findings}
    refused = {outcome for outcome in found.values() if outcome is not Outcome.WARN}
    if case.outcome is OK:
        assert refused == set()
    else:
        exact = {"size-swapped", "size-scaled"} if case.rule == "size-not-the-pictures" else set()
        assert found.keys() & {case.rule, *exact}
        assert case.outcome in found.values()
    json.loads(dump(to_document(diagnosis)))
    assert "</html>" in write_page(diagnosis, "battery")
    if case.outcome is FATAL or case.rule == "no-usable-picture":
        assert parts == []
        return
    document, changes = repair(parts[0], diagnosis.findings)
    fixed = tmp_path / "fixed.json"
    fixed.write_text(dump(document))
    again = read_coco(fixed, bench.images)  # strict: nothing of it is refused
    assert again.annotations.num_objects == len(document["annotations"])
    assert not refused or changes
