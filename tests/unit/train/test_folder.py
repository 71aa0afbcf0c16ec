"""A run never overwrites another without being told."""

import json
import os
from pathlib import Path

import pytest

from panet.config import Config, DataConfig, TrainConfig
from panet.errors import ConfigError
from panet.structures import LabelMap
from panet.train.facts import check_same, write_facts
from panet.train.folder import create_folder, find_run, newest_run, read_run_config

LABELS = LabelMap((3, 7), ("Nuß", "fig, dried"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def make_run(root: Path, name: str, config: Config | None = None) -> Path:
    folder = create_folder(root, name)
    write_facts(folder, config or Config(), LABELS)
    return folder


def test_runs_without_a_name_are_numbered(root: Path) -> None:
    assert [create_folder(root, None).name for _ in range(3)] == ["train", "train2", "train3"]


def test_a_named_run_is_not_overwritten_by_itself(root: Path) -> None:
    make_run(root, "nuclei")
    with pytest.raises(ConfigError, match=r"nuclei: exists; choose another --name, or add --overwrite or --resume"):
        create_folder(root, "nuclei")


def test_overwriting_removes_the_whole_earlier_run(root: Path) -> None:
    folder = make_run(root, "nuclei")
    assert create_folder(root, "nuclei", overwrite=True) == folder
    assert list(folder.iterdir()) == []


def test_overwriting_what_is_not_there_is_fine(root: Path) -> None:
    assert create_folder(root, "nuclei", overwrite=True).is_dir()


@pytest.mark.parametrize(
    "names",
    [
        [],
        [".lock"],
        [".lock", "environment.json", ".label_map.json.123.part"],
        [".lock", "environment.json", "label_map.json", ".config.yaml.7.part"],
    ],
)
def test_overwriting_removes_what_was_killed_before_it_was_a_run(root: Path, names: list[str]) -> None:
    (root / "nuclei").mkdir(parents=True)
    for name in names:
        (root / "nuclei" / name).touch()
    assert list(create_folder(root, "nuclei", overwrite=True).iterdir()) == []


@pytest.mark.parametrize("name", ["environment.json.bak", "lock", "weights"])
def test_overwriting_spares_what_a_run_does_not_begin_with(root: Path, name: str) -> None:
    (root / "nuclei" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        create_folder(root, "nuclei", overwrite=True)


def test_the_newest_run_is_found_though_a_file_of_it_is_gone(root: Path) -> None:
    for name, time in (("old", 1_000), ("new", 2_000)):
        folder = make_run(root, name)
        (folder / "link").symlink_to("nowhere")
        for path in folder.iterdir():
            os.utime(path, (time, time), follow_symlinks=False)
    assert newest_run(root).name == "new"


def test_overwriting_spares_a_folder_that_is_no_run(root: Path) -> None:
    (root / "thesis").mkdir(parents=True)
    (root / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        create_folder(root, "thesis", overwrite=True)
    assert (root / "thesis" / "chapter1.tex").exists()


def test_overwriting_does_not_follow_a_link(root: Path) -> None:
    folder = make_run(root, "nuclei")
    (root / "link").symlink_to(folder)
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        create_folder(root, "link", overwrite=True)
    assert (folder / "config.yaml").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/a", "a\\b", "a\0b"])
def test_a_name_is_one_folder(root: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected the name of one folder"):
        create_folder(root, name)
    assert not root.exists()


@pytest.mark.parametrize("name", [None, "nuclei"])
def test_a_file_in_the_place_of_the_root_is_refused(root: Path, name: str | None) -> None:
    root.write_text("")
    with pytest.raises(ConfigError, match="runs: is a file; choose another --output-root"):
        create_folder(root, name)


def test_a_root_below_a_file_is_refused(root: Path) -> None:
    root.write_text("")
    with pytest.raises(ConfigError, match="Not a directory; choose another --output-root"):
        create_folder(root / "inner", None)


def test_a_run_tells_what_made_it(root: Path) -> None:
    config = Config(train=TrainConfig(seed=5))
    folder = make_run(root, "nuclei", config)
    assert read_run_config(folder) == config
    labels = json.loads((folder / "label_map.json").read_text(encoding="utf-8"))
    assert labels == {"category_ids": [3, 7], "names": ["Nuß", "fig, dried"]}
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    assert environment["threads"] >= 1
    assert environment["packages"]["torch"].startswith("2.")
    assert str(Path.home()) not in json.dumps(environment)


def test_the_run_to_resume_is_the_named_one_or_the_newest(root: Path) -> None:
    old, new = make_run(root, "old"), make_run(root, "new")
    for age, folder in enumerate((new, old)):
        for path in folder.iterdir():
            os.utime(path, (1000 - age, 1000 - age))
    assert find_run(old) == old
    assert find_run(root) == new
    (old / "metrics.jsonl").write_text("")
    assert find_run(root) == old


def test_without_a_run_there_is_nothing_to_resume(root: Path) -> None:
    create_folder(root, "empty")
    with pytest.raises(ConfigError, match="runs: holds no run to resume"):
        find_run(root)


def test_a_run_is_resumed_with_its_own_settings_only(root: Path) -> None:
    folder = make_run(root, "nuclei")
    check_same(folder, Config(train=TrainConfig(device="cpu")))
    check_same(folder, Config(data=DataConfig(workers=7, cache_dir="cache", cache_gb=1.0)))
    with pytest.raises(ConfigError, match=r"train\.seed was 0, is 1; start a new run instead"):
        check_same(folder, Config(train=TrainConfig(seed=1)))
