"""The faults that are cheap to inject, once each; `make faults` injects all of them three times."""

from functools import partial
from pathlib import Path

import pytest

from faults import damage, kills, places, readers

CHEAP = {
    "SIGKILL at random moments": partial(kills.kill_at_random, workers=2),
    "SIGKILL half way in a part file": partial(kills.kill_in_save, point="half"),
    "a flipped bit": damage.flip,
    "a loader's process killed": partial(readers.lose_worker, how="kill", cause="SIGKILL"),
    "SIGTERM to all processes": partial(kills.interrupt_group, number=kills.TERM, code=143),
    "a limit of file sizes": places.limit_file_size,
    "the folder removed": partial(places.remove, workers=0),
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize("name", CHEAP)
def test_a_run_survives(name: str, scratch: Path) -> None:
    folder = scratch / name.replace(" ", "-").replace("'", "")
    folder.mkdir()
    assert CHEAP[name](1, folder)
