"""Whether the compiled kernels are there, and what is said if they are not."""

import importlib.machinery
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from panet.errors import ConfigError
from panet.ops import native

ROOT = Path(__file__).parents[3]
FILE = f"_kernels{importlib.machinery.EXTENSION_SUFFIXES[0]}"


def test_a_setting_switches_them_off() -> None:
    assert native._load(Path(native.__file__).parent, "0") == (None, "switched off by PANET_NATIVE=0")


def test_a_setting_that_says_neither_is_refused() -> None:
    with pytest.raises(ConfigError, match="PANET_NATIVE=off: expected 0"):
        native._load(Path(native.__file__).parent, "off")


def test_where_none_were_compiled_that_is_said(tmp_path: Path) -> None:
    library, problem = native._load(tmp_path, "")
    assert library is None
    assert problem.startswith("not compiled: no C++ compiler worked")


def test_a_file_that_is_no_library_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no library")
    library, problem = native._load(tmp_path, "1")
    assert library is None
    assert problem.startswith("failed to load: ")
    assert FILE in problem


def test_without_a_compiler_the_package_is_built_without_them(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="needs setuptools, as pip takes it to build the package")
    build = ["build_ext", "--build-lib", str(tmp_path), "--build-temp", str(tmp_path), "--force"]
    built = subprocess.run(
        [sys.executable, "-c", "from setuptools import setup; setup()", *build],
        env={**os.environ, "CC": "/bin/false", "CXX": "/bin/false"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert 'building extension "panet.ops._kernels" failed' in built.stderr
    assert list(tmp_path.rglob(f"*{importlib.machinery.EXTENSION_SUFFIXES[0]}")) == []


@pytest.mark.skipif(native.LIBRARY is None, reason=f"no compiled kernels: {native.PROBLEM}")
def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_INTERFACE", 999)
    library, problem = native._load(Path(native.__file__).parent, "")
    assert library is None
    assert problem.endswith("is of another version: install panet again")


@pytest.mark.skipif(native.LIBRARY is None, reason=f"no compiled kernels: {native.PROBLEM}")
def test_what_the_kernel_takes_for_granted_is_checked() -> None:
    assert native.vectors() in ("AVX-512", "AVX2", "baseline")
    feature, grid = torch.zeros(1, 4, 5, 5), torch.zeros(2, 4, 7, 7).contiguous(memory_format=torch.channels_last)
    with pytest.raises(AssertionError):  # NCHW memory
        native.pool([feature], [grid], torch.zeros(2, 5), None, [1.0], 2, False)
    turned = feature.contiguous(memory_format=torch.channels_last)
    with pytest.raises(AssertionError):  # one RoI too many
        native.pool([turned], [grid], torch.zeros(3, 5), None, [1.0], 2, False)
