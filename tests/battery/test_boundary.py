"""Every case of the battery in strict and in skip mode; what is left is made into samples."""

import numpy as np
import pytest

from battery import annotations, pictures
from battery.case import DROP_IMG, FATAL, OK, WARN
from battery.workbench import Bench
from panet.data.coco import read_coco
from panet.data.dataset import SampleDataset
from panet.data.problems import BadDataError
from panet.data.transforms import ResizeShortSide

CASES = pictures.CASES + annotations.CASES
pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))


def read(bench, on_bad_data):
    bench.write()
    return read_coco(bench.json, bench.images, on_bad_data)


def assert_named(problems, case, bench):
    """The finding has its outcome and rule, and one line that names file and place."""
    found = [problem for problem in problems if problem.rule == case.rule]
    assert found, [str(problem) for problem in problems]
    assert (
        len(problems) == (len(found) if case.outcome is FATAL else 1) + case.orphans or case.rule == "no-usable-picture"
    )
    problem = found[0]
    assert problem.outcome is case.outcome
    assert problem.file == str(bench.json)
    assert case.says in problem.why
    assert str(problem).isprintable()
    assert len(str(problem)) < 1000
    if case.outcome is not FATAL and problem.rule not in ("no-annotations",):
        assert problem.place


def test_strict_mode_accepts_or_refuses_it_by_name(case, bench):
    case.spoil(bench)
    if case.outcome in (OK, WARN):
        dataset = read(bench, "strict")
        if case.outcome is OK:
            assert dataset.problems == ()
        else:
            assert_named(dataset.problems, case, bench)
        return
    with pytest.raises(BadDataError) as caught:
        read(bench, "strict" if case.rule != "no-usable-picture" else "skip")
    assert_named(caught.value.problems, case, bench)
    assert "\n" not in str(caught.value)


def test_skip_mode_goes_on_with_the_rest_and_the_rest_is_sound(case, bench, tmp_path):
    case.spoil(bench)
    if case.outcome is FATAL:
        with pytest.raises(BadDataError):
            read(bench, "skip")
        return
    dataset = read(bench, "skip")
    if case.outcome is not OK:
        assert_named(dataset.problems, case, bench)
    lost = {OK: (0, 0), WARN: (0, 0), DROP_IMG: (1, 2)}.get(case.outcome, (0, 1))
    num_annotations = len(bench.document["annotations"])
    assert dataset.num_listed == (3, num_annotations)
    assert (len(dataset), dataset.annotations.num_objects) == (3 - lost[0], num_annotations - lost[1])
    (tmp_path / "clean").mkdir()
    clean = Bench(tmp_path / "clean")
    untouched = read(clean, "strict").document["annotations"][2:]
    kept = dataset.document["annotations"]
    if lost[1]:  # what was not spoilt is as it was
        assert [without_id(row) for row in kept[2 - lost[1] :]] == [without_id(row) for row in untouched]
    samples = SampleDataset(dataset, ResizeShortSide((16,), 1000), [], seed=0)
    for index in range(len(dataset)):
        sample = samples[0, index]
        assert np.isfinite(sample.image.float().numpy()).all()


def without_id(row):
    return {key: value for key, value in row.items() if key != "id"}
