"""What is told when a run goes on where it did not begin."""

import json
from pathlib import Path

import pytest

from panet.config import Config
from panet.errors import ConfigError
from panet.structures import LabelMap
from panet.train.facts import check_classes, tell_changes, write_facts

LABELS = LabelMap((1, 2), ("nucleus", "ring"))


def test_other_threads_and_versions_are_told(tmp_path: Path) -> None:
    write_facts(tmp_path, Config(), LABELS)
    assert tell_changes(tmp_path) == []
    facts = json.loads((tmp_path / "environment.json").read_text())
    facts["threads"] = 99
    facts["packages"]["torch"] = "1.0"
    (tmp_path / "environment.json").write_text(json.dumps(facts))
    (line,) = tell_changes(tmp_path)
    assert line.startswith("careful: begun with threads 99, now ")
    assert "; torch 1.0, now " in line


def test_another_data_set_is_told_and_the_same_is_not(tmp_path: Path) -> None:
    train = {"pictures": 24, "objects": 70, "sha256": "a"}
    write_facts(tmp_path, Config(), LABELS, parts={"train": train, "val": train})
    assert tell_changes(tmp_path, {"train": dict(train), "val": dict(train)}) == []
    lines = tell_changes(tmp_path, {"train": {**train, "pictures": 23, "sha256": "b"}})
    end = "what follows is not what a run in one go would give"
    assert lines == [
        "careful: the train part is not the one that the run began with (24 pictures, 70 objects then, 23 pictures, "
        f"70 objects now): {end}",
        "careful: the val part is not the one that the run began with (24 pictures, 70 objects then, none now): " + end,
    ]


def test_a_run_that_did_not_note_its_data_set_goes_on_without_a_word(tmp_path: Path) -> None:
    write_facts(tmp_path, Config(), LABELS)
    assert tell_changes(tmp_path, {"train": {"pictures": 1, "objects": 1, "sha256": "a"}}) == []


@pytest.mark.parametrize(
    ("label_map", "told"),
    [
        (LabelMap((1, 4), ("nucleus", "ring")), "category 2 'ring' is now 4 'ring'"),
        (LabelMap((1, 2), ("nucleus", "disc")), "category 2 'ring' is now 2 'disc'"),
        (LabelMap((1,), ("nucleus",)), "category 2 'ring' is now none ''"),
    ],
)
def test_other_classes_are_refused(tmp_path: Path, label_map: LabelMap, told: str) -> None:
    write_facts(tmp_path, Config(), LABELS)
    with pytest.raises(ConfigError, match=rf"cannot be resumed with other classes: {told}"):
        check_classes(tmp_path, label_map)


def test_the_same_classes_are_fine_and_so_is_a_lost_record_of_them(tmp_path: Path) -> None:
    write_facts(tmp_path, Config(), LABELS)
    check_classes(tmp_path, LABELS)
    (tmp_path / "label_map.json").unlink()
    check_classes(tmp_path, LabelMap((1,), ("nucleus",)))


def test_without_a_record_nothing_is_told(tmp_path: Path) -> None:
    assert tell_changes(tmp_path) == []
