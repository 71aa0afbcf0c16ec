"""What is told when a run goes on where it did not begin."""

import json
from pathlib import Path

from panet.config import Config
from panet.structures import LabelMap
from panet.train.folder import tell_changes, write_facts


def test_other_threads_and_versions_are_told(tmp_path: Path) -> None:
    write_facts(tmp_path, Config(), LabelMap((1,), ("nucleus",)))
    assert tell_changes(tmp_path) == []
    facts = json.loads((tmp_path / "environment.json").read_text())
    facts["threads"] = 99
    facts["packages"]["torch"] = "1.0"
    (tmp_path / "environment.json").write_text(json.dumps(facts))
    (line,) = tell_changes(tmp_path)
    assert line.startswith("careful: begun with threads 99, now ")
    assert "; torch 1.0, now " in line


def test_without_a_record_nothing_is_told(tmp_path: Path) -> None:
    assert tell_changes(tmp_path) == []
