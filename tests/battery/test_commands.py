"""Results, model files, settings and calls (G, H, I, J): a command ends with one line and exit code 2, or does it all.

The parts that make these checks have tests of their own; here the whole command is called as a user calls it. Of J,
other settings on --resume (04) are in unit/cli/test_train.py; a closed output (10) and names in another script (11) in
unit/cli/test_main.py; a clock moved back (13) in tests/faults; two runs in one folder (14) in unit/train/test_lock.py;
10,000 categories (15) and names with a comma, a quote and a line break (16) are F30 and F31. No command opens a port
(07) or downloads a model (09).
"""

import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from battery.training import TINY
from battery.workbench import RUNS, Bench, square
from panet.cli.main import run
from panet.model.build import build_model
from panet.ops.rle import encode
from panet.settings import read_config
from panet.structures import LabelMap
from panet.weights.checkpoint import save_model

CLASSES = LabelMap((1, 2), ("cell", "nut"))


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of two classes."""
    config = read_config(None, None, [*TINY, "model.num_classes=2"]).model
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_model(path, build_model(config, seed=0, load_backbone=False).state_dict(), config, CLASSES)
    return path


@pytest.fixture
def place(tmp_path: Path, whole_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set in DATA, a model, and nothing else."""
    (tmp_path / "DATA").mkdir()
    bench = Bench(tmp_path / "DATA")
    bench.write()
    shutil.copy(bench.json, bench.root / "val.json")
    shutil.copy(whole_model, tmp_path / "tiny.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refuse(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str, code: int = 2) -> None:
    """The command ends with this code and one line that tells why."""
    before = sorted(Path("DATA").rglob("*"))
    assert run(arguments) == code
    *_, told = capsys.readouterr().err.splitlines()
    assert told.startswith("error: ")
    assert re.search(says, told), told
    assert told.isprintable()
    assert "an error of panet itself" not in told
    assert sorted(Path("DATA").rglob("*")) == before


def found(number: int, image: int, score: float = 0.9, **changes: object) -> dict[str, object]:
    row = square(number, image)
    return {key: row[key] for key in ("image_id", "category_id", "segmentation")} | {
        "bbox": row["bbox"],
        "score": score,
        "segmentation": encode(squared()),
        **changes,
    }


def squared() -> np.ndarray:
    mask = np.zeros((24, 32), dtype=bool)
    mask[4:14, 4:12] = True
    return mask


NUT = {"category_id": 2, "segmentation": RUNS, "bbox": [20, 2, 2, 10]}
PERFECT = [found(1, 1), found(2, 1, 0.8, **NUT), found(3, 2)]
FALSE = [found(9, 1, 0.01, segmentation=encode(~squared()), bbox=[0, 0, 32, 24]) for _ in range(150)]

SCORED = [
    ("G01 perfect", PERFECT, ["1.000", "1.000"]),
    ("G02 no predictions", [], ["0.000", "0.000"]),
    ("G06 a width below 0", [*PERFECT, found(9, 1, 0.1, bbox=[8, 4, -4, 10])], ["1.000", "1.000"]),
    ("G10 150 false ones", [*FALSE, *PERFECT], ["1.000", "1.000"]),
    ("G12 in reverse order", PERFECT[::-1], ["1.000", "1.000"]),
]
UNSCORED = [
    ("G03 an unknown picture", [found(1, 77)], "result 1: image_id 77 is not in the data"),
    ("G04 an unknown category", [*PERFECT, found(1, 1, category_id=9)], "result 4: category_id 9 is not in the data"),
    ("G05 a score of NaN", [found(1, 1, math.nan)], "result 1: score is nan"),
    ("G07 a mask of another size", [found(1, 1, segmentation={"size": [9, 9], "counts": "Q1"})], "result 1: .*size"),
    ("G08 a mask too long", [found(1, 1, segmentation={**RUNS, "counts": [5, 9999]})], "result 1: "),
    ("G09 ids as texts", [found(1, 1, image_id="1")], "is '1', a str: the data has 1"),
    ("G11 an object", {"annotations": PERFECT}, "results.json: "),
    ("G13 a number", 7, "results.json: "),
    ("G14 a list of numbers", [1, 2], "result 1: is a int"),
]


@pytest.mark.parametrize(("name", "results", "scores"), SCORED, ids=[name for name, _, _ in SCORED])
def test_results_are_scored(place, capsys, name, results, scores):
    Path("results.json").write_text(json.dumps(results))
    assert run(["eval", "results.json", "DATA/val.json"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "AP " in line)
    assert re.findall(r"\d\.\d{3}", line)[:2] == scores


@pytest.mark.parametrize(("name", "results", "says"), UNSCORED, ids=[name for name, _, _ in UNSCORED])
def test_results_that_cannot_be_believed_are_refused(place, capsys, name, results, says):
    Path("results.json").write_text(json.dumps(results))
    refuse(capsys, ["eval", "results.json", "DATA/val.json"], says)


class Attack:
    """A pickle of it makes a file when it is read."""

    def __reduce__(self):
        return (os.mkdir, ("CANARY",))


def torch_zip(document, share=1.0):
    torch.save(document, "x.pth")
    content = Path("x.pth").read_bytes()
    return content[: int(len(content) * share)]


def inflating():
    with zipfile.ZipFile("x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * (64 << 20))
    return Path("x.pth").read_bytes()


def flipped():
    content = bytearray(Path("tiny.safetensors").read_bytes())
    content[-5] ^= 4
    return bytes(content)


def with_offsets(end):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, end]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(16)


FILES = [
    ("H01 a pickle that runs code", lambda: pickle.dumps({"a": Attack()})),
    ("H02 a zip whose pickle runs code", lambda: torch_zip({"a": Attack()})),
    ("H03 half a zip", lambda: torch_zip({"a": torch.zeros(5000)}, 0.5)),
    ("H04 HTML", lambda: b"<!DOCTYPE html><html>quota exceeded</html>"),
    ("H05 empty", lambda: b""),
    ("H06 a Git LFS pointer", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
    ("H07 a header of 2**60 bytes", lambda: (1 << 60).to_bytes(8, "little") + b"{}" + bytes(60)),
    ("H08 a shape that does not fit", lambda: with_offsets(12)),
    ("H09 64 MB in 64 kB", inflating),
    ("H10 no header of panet", lambda: with_offsets(16)),
    ("H11 one flipped bit", flipped),
    ("H12 half a model", lambda: Path("tiny.safetensors").read_bytes()[:5000]),
]


@pytest.mark.parametrize(("name", "make"), FILES, ids=[name for name, _ in FILES])
def test_a_model_file_that_is_none_is_refused_and_runs_nothing(place, capsys, name, make):
    content = make()
    Path("bad.safetensors").write_bytes(content)
    Path("bad.pth").write_bytes(content)
    for arguments in (
        ["predict", "bad.safetensors", "DATA/images"],
        ["eval", "bad.safetensors", "DATA"],
        ["doctor", "DATA", "--model", "bad.safetensors"],
        ["train", "DATA", "--init", "bad.safetensors"],
        ["import", "bad.pth", "-o", "out.safetensors"],
    ):
        refuse(capsys, arguments, r"bad\.(safetensors|pth)")
    assert not Path("CANARY").exists()
    assert not Path("out.safetensors").exists()


SETTINGS = [
    ("I01 a tag of Python", "train: !!python/object/apply:os.mkdir [CANARY]", "tag "),
    ("I02 an alias", "train: &a {seed: 1}\ndata: *a", "alias"),
    ("I03 a typo", "train: {learnin_rate: 0.1}", r"train\.learnin_rate is unknown \(did you mean 'learning_rate'"),
    ("I04 code for a number", "train: {seed: \"__import__('os').mkdir('CANARY')\"}", r"train\.seed"),
    ("I05 a wrong type", "data: {short_sides: wide}", r"data\.short_sides"),
    ("I06 NaN", "train: {learning_rate: .nan}", r"train\.learning_rate: input should be a finite number"),
    ("I07 a key twice", "train:\n  seed: 1\n  seed: 2", "key 'seed' twice"),
    ("I08 a batch below 0", "data: {batch_size: -2}", r"data\.batch_size"),
    ("I09 no text", "\x00", "not readable as YAML"),
]


@pytest.mark.parametrize(("name", "text", "says"), SETTINGS, ids=[name for name, _, _ in SETTINGS])
def test_settings_that_cannot_be_are_refused(place, capsys, name, text, says):
    Path("bad.yaml").write_text(text)
    refuse(capsys, ["train", "DATA", "--config", "bad.yaml", "--dry-run"], says)
    refuse(capsys, ["doctor", "DATA", "--config", "bad.yaml"], says)
    assert not Path("CANARY").exists()


CALLS = [
    ("J01 an empty folder", "predict tiny.safetensors EMPTY", "EMPTY: the folder holds no picture"),
    ("J02 a file as output", "predict tiny.safetensors DATA/images -o taken", "taken: a file is in the way"),
    ("J02 below a file", "predict tiny.safetensors DATA/images -o taken/x", "taken/x: a file is in the way"),
    ("J02 of train", "train DATA --output-root taken", "taken: is a file"),
    ("J02 of doctor", "doctor DATA --report taken/r.html", "taken/r.html"),
    ("J02 of convert", "convert DATA taken --to yolo", "taken: is no folder"),
    ("J03 output exists", "predict tiny.safetensors DATA/images -o FULL", "FULL: .*not empty: add --overwrite"),
    ("J03 of eval", "eval tiny.safetensors DATA -o taken", "taken: exists: add --overwrite"),
    ("J03 of convert", "convert DATA FULL --to yolo", "FULL: exists; add --overwrite"),
    ("J05 other classes", "train DATA --init bundled", "--reset-head"),
    ("J06 a model as data", "train tiny.safetensors", "is a model, not a data set"),
    ("J06 of check", "check tiny.safetensors --images DATA/images", "tiny.safetensors: "),
    ("J06 data as a model", "predict DATA DATA/images", "DATA: a folder: expected a model file"),
    ("J06 a picture as a model", "predict DATA/images/a.png DATA/images", "a.png: not a safetensors file"),
    ("J06 a model as a picture", "predict tiny.safetensors tiny.safetensors", "tiny.safetensors: is no picture"),
    ("J08 no such device", "predict tiny.safetensors DATA/images --device cuda:99", "device 'cuda:99'"),
]


@pytest.mark.parametrize(("name", "call", "says"), CALLS, ids=[name for name, _, _ in CALLS])
def test_a_call_that_cannot_go_well_is_refused(place, capsys, name, call, says):
    Path("EMPTY").mkdir()
    Path("FULL").mkdir()
    Path("FULL/x").touch()
    Path("taken").touch()
    refuse(capsys, call.split(), says)
    assert Path("taken").read_bytes() == b""
    assert sorted(Path("FULL").iterdir()) == [Path("FULL/x")]


def test_j12_without_a_home_that_can_be_written_to_everything_works(place):
    """A file in the place of HOME and of the caches: even the super user can make nothing below it."""
    Path("taken").touch()
    absent = str(place / "taken" / "below")
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "TORCH_HOME", "MPLCONFIGDIR")
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    environment = kept | dict.fromkeys(names, absent) | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    settings = [word for setting in [*TINY, "data.workers=0"] for word in ("--set", setting)]
    train = ["train", "DATA", "--steps", "1", *settings, "--device", "cpu"]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "panet", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    for arguments in (train, ["predict", "tiny.safetensors", "DATA/images", "--device", "cpu"], ["doctor", "DATA"]):
        done = call(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    done = call(*train, "--set", "model.backbone.weights=timm")  # they would be kept below HOME
    assert done.returncode == 2
    (told,) = done.stderr.splitlines()[-1:]
    assert told.startswith("error: model.backbone.weights: timm could not give weights for 'lcnet_035'")
    assert "Traceback" not in done.stderr
