"""`panet env`: what is in use, and why not."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from panet import __version__
from panet.cli.main import run
from panet.ops import native


def test_versions_devices_and_threads_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["panet"], facts["torch"], facts["numpy"]) == (__version__, torch.__version__, np.__version__)
    assert facts["devices"][0] == "cpu"
    assert facts["threads"] == torch.get_num_threads()
    assert facts["native"] is (native.LIBRARY is not None)
    assert (facts["native_problem"] is None) is facts["native"] is (facts["native_vectors"] is not None)


def test_there_is_a_line_for_each_fact(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "LIBRARY", None)
    monkeypatch.setattr(native, "PROBLEM", "switched off by PANET_NATIVE=0")
    assert run(["env"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["panet"] == __version__
    assert lines["native"] == "not in use"
    assert lines["native_vectors"] == "none"
    assert lines["native_problem"] == "switched off by PANET_NATIVE=0"


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [("0", 0, "switched off by PANET_NATIVE=0"), ("no", 2, "error: PANET_NATIVE=no: expected 0")],
)
def test_the_environment_variable_decides(setting: str, code: int, said: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "panet", "env"],
        env={**os.environ, "PANET_NATIVE": setting},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == code, told.stderr
    assert said in told.stdout + told.stderr
