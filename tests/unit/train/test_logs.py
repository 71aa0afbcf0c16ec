"""Where numbers and pictures go: the table always, others where they are installed or asked for; none twice."""

import csv
import importlib.util
import json
import os
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from panet.errors import ConfigError
from panet.train.logs import check_services, flatten, open_logs
from panet.train.loop import train
from panet.train.run import Run

PICTURE = np.full((8, 9, 3), 200, np.uint8)


def judge(_model: object) -> dict[str, float]:
    return {"box/AP": 0.25}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def finish(fakes, folder: Path, num_steps: int = 10) -> Run:
    objective = fakes.objective()
    run, learner = fakes.run(folder), fakes.learner(objective.model)
    run.start(learner)
    train(objective, fakes.batches(run.standing.step), learner, fakes.plan(num_steps=num_steps), run, judge)
    run.close()
    return run


def test_names_of_nested_numbers_are_paths_and_null_is_left_out() -> None:
    assert flatten({"step": 1, "losses": {"mask": 0.5}, "metrics": {"box/AP": None, "mask/AP": 0.1}}) == {
        "step": 1,
        "losses/mask": 0.5,
        "metrics/mask/AP": 0.1,
    }


def test_the_table_has_the_numbers_of_every_line(fakes, run_folder: Path) -> None:
    finish(fakes, run_folder)
    table, told = rows(run_folder), lines(run_folder)
    assert len(table) == len(told) == 13
    for row, line in zip(table, told, strict=True):
        assert {name: float(value) for name, value in row.items() if value} == flatten(line)
    assert [row["step"] for row in table if row["metrics/box/AP"]] == ["4", "8", "10"]


def test_a_resumed_run_has_the_table_of_a_whole_one(fakes, tmp_path: Path) -> None:
    finish(fakes, tmp_path / "whole")
    finish(fakes, tmp_path / "parts", num_steps=6)
    # As after a crash: lines that no checkpoint knows of, the last cut short.
    for name, text in (("metrics.jsonl", '{"step": 7, "epoch": 1, "losses": {}}\n{"step'), ("metrics.csv", "7,1\n8,")):
        with (tmp_path / "parts" / name).open("a") as file:
            file.write(text)
    finish(fakes, tmp_path / "parts")
    whole = [line for line in lines(tmp_path / "whole") if "losses" in line]
    assert [line for line in lines(tmp_path / "parts") if "losses" in line] == whole
    steps = [row["step"] for row in rows(tmp_path / "parts") if row["total"]]
    assert steps == [str(step) for step in range(1, 11)]


def test_a_table_that_could_not_be_written_is_complete_when_it_can(fakes, run_folder: Path) -> None:
    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    run.start(learner)

    def block(record) -> None:
        if record.step == 3:
            (run_folder / "metrics.csv").unlink()
            (run_folder / "metrics.csv").mkdir()
        if record.step == 5:
            (run_folder / "metrics.csv").rmdir()

    run._on_step = block
    train(objective, fakes.batches(), learner, fakes.plan(), run, judge)
    run.close()
    assert len(rows(run_folder)) == len(lines(run_folder)) == 13
    assert not any("metrics.csv" in note for note in fakes.notes)


def test_tensorboard_gets_pictures(fakes, run_folder: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fakes.run(run_folder)
    run.start(fakes.learner(fakes.objective().model))
    assert run.takes_pictures
    run.show({"val/a.png": PICTURE})
    run.close()
    events = EventAccumulator(str(run_folder / "tensorboard")).Reload()
    [image] = events.Images("val/a.png")
    assert (image.width, image.height) == (9, 8)


def test_a_log_that_fails_is_told_of_once_and_done_without(fakes, run_folder: Path) -> None:
    class Broken:
        name, takes_pictures = "broken", True

        def scalars(self, step: int, values: object) -> None:
            raise OSError("no way")

        def close(self) -> None:
            raise OSError("nor this")

    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    run.start(learner)
    run._logs._open.append(Broken())
    train(objective, fakes.batches(), learner, fakes.plan(num_steps=3), run)
    run.close()
    assert [note for note in fakes.notes if "broken" in note] == ["broken: no way: its curves end before step 1"]
    assert len(rows(run_folder)) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [("wand", r"--log wand: is unknown \(did you mean 'wandb'\?\)"), ("mlflow", r"pip install 'panet\[mlflow\]'")],
)
def test_a_service_that_is_not_there_is_refused(monkeypatch, name: str, message: str) -> None:
    monkeypatch.setattr("panet.train.logs.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=message):
        check_services([name])


@pytest.mark.parametrize("text", ["{", "[]", '{"else": "a"}', '{"wandb": 3}'])
def test_a_damaged_list_of_services_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "logs.json").write_text(text)
    with pytest.raises(ConfigError, match=r"logs\.json: .*remove it"):
        open_logs(tmp_path, 0, [], {})


class FakeWandb(types.ModuleType):
    """As much of wandb as is used; keeps what it is given."""

    class Error(Exception):
        """Of wandb."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict] = []
        self.logged: list[tuple[int, dict]] = []
        self.finished = 0
        self.Settings = dict
        self.Image = lambda picture: picture.shape

    def init(self, **how):
        self.begun.append(how)
        return self

    def log(self, values: dict, step: int) -> None:
        if step == 99:
            raise self.Error("too far\nfor it")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delitem(sys.modules, "panet.train.wandb_log", raising=False)
    monkeypatch.setattr("panet.train.logs.find_spec", lambda package: None if package == "tensorboard" else True)
    return fake


def test_wandb_is_offline_unless_sending_is_asked_for_and_goes_on_with_its_run(tmp_path: Path, wandb) -> None:
    [log] = open_logs(tmp_path, 0, ["wandb"], {"train.seed": 0})
    log.scalars(1, {"total": 2.0})
    log.pictures(1, {"val/a.png": PICTURE})
    log.close()
    open_logs(tmp_path, 1, [], {})  # as a resumed run, without the option
    open_logs(tmp_path, 1, ["wandb-online"], {})
    open_logs(tmp_path, 1, [], {})
    assert [begun["mode"] for begun in wandb.begun] == ["offline", "offline", "online", "online"]
    assert len({begun["id"] for begun in wandb.begun}) == 1
    assert wandb.begun[0]["config"] == {"train.seed": 0}
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    assert wandb.logged == [(1, {"total": 2.0}), (1, {"val/a.png": (8, 9, 3)})]
    assert wandb.finished == 1
    with pytest.raises(OSError, match=r"^too far$"):
        log.scalars(99, {})


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_one_run_in_a_database_beside_the_runs_and_no_number_twice(tmp_path: Path, monkeypatch) -> None:
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    for start in (0, 2):  # the second session goes on after step 2, and a third had been logged
        log = next(log for log in open_logs(folder, start, ["mlflow"], {"train.seed": 7}) if log.name == "mlflow")
        for step in range(start + 1, 4 + start):
            log.scalars(step, {"total": float(step)})
        log.pictures(3, {"val/a.png": PICTURE})
        log.close()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    identity = json.loads((folder / "logs.json").read_text())["mlflow"]
    run = client.get_run(identity)
    assert (run.info.status, run.info.run_name, run.data.params) == ("FINISHED", "a", {"train.seed": "7"})
    assert [point.step for point in client.get_metric_history(identity, "total")] == [1, 2, 3, 4, 5]
    shutil.rmtree(folder)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_itself_writes_into_the_runs_folder(tmp_path: Path) -> None:
    log = next(log for log in open_logs(tmp_path, 0, ["wandb"], {}) if log.name == "wandb")
    log.scalars(1, {"total": 1.0})
    log.pictures(1, {"val/a.png": PICTURE})
    log.close()
    identity = json.loads((tmp_path / "logs.json").read_text())["wandb"]
    assert list(tmp_path.glob(f"wandb/offline-run-*-{identity}/run-{identity}.wandb"))
