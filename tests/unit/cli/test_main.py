"""The command line from outside: a line on stderr, an exit code, nothing heavy for a question."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from panet import __version__
from panet.cli import main
from panet.errors import CheckpointError, ConfigError, DataError, DivergedError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Give an app of one command, `fail`, that raises what it is told to."""

    def install(error: BaseException) -> None:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.callback()
        def options() -> None:
            """A callback makes `fail` a command of its own."""

        @app.command()
        def fail() -> None:
            raise error

        monkeypatch.setattr(main, "app", app)

    return install


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a.yaml: bad"), 2),
        (DataError("a.yaml: bad"), 2),
        (CheckpointError("a.yaml: bad"), 2),
        (DivergedError("a.yaml: bad"), 3),
    ],
)
def test_an_error_of_the_user_is_one_line_and_its_code(failing, capsys, error: Exception, code: int) -> None:
    failing(error)
    assert main.run(["fail"]) == code
    assert capsys.readouterr() == ("", "error: a.yaml: bad\n")


def _end_of(words: str, number: int) -> tuple[int, str, str]:
    """Run a program of these words, told a signal's number; give its exit code, stdout and stderr."""
    ended = subprocess.run([sys.executable, "-c", words, str(int(number))], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_clears_up_first(number: int, code: int) -> None:
    words = (
        "import atexit, os, signal, sys; from panet.cli import main; atexit.register(print, 'cleared up'); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); main.run = lambda _: os.kill(os.getpid(), int(sys.argv[1])); "
        "main.main()"
    )
    assert _end_of(words, number) == (code, "cleared up\n", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_second_signal_while_python_ends_is_silent(number: int, code: int) -> None:
    words = (
        "import atexit, os, signal, sys; from panet.cli import main; number = int(sys.argv[1]); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); signal.signal(signal.SIGINT, signal.default_int_handler); "
        "atexit.register(os.kill, os.getpid(), number); main.run = lambda _: print('saved'); main.main()"
    )
    assert _end_of(words, number) == (code, "saved\n", "")


def test_control_characters_do_not_reach_the_terminal(failing, capsys) -> None:
    failing(DataError("a\x1b[2Jb\nc"))
    main.run(["fail"])
    assert capsys.readouterr().err == "error: a\\x1b[2Jb\\nc\n"


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (MemoryError(), "MemoryError: free some and start again"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: free some and start again"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "--batch-size"),
    ],
)
def test_what_is_exhausted_is_told_from_an_error_of_the_program(failing, capsys, error: Exception, hint: str) -> None:
    failing(error)
    assert main.run(["fail"]) == 4
    assert hint in capsys.readouterr().err


def test_a_full_disk_keeps_its_code_inside_an_error_of_the_user(failing, capsys) -> None:
    error = CheckpointError("last.safetensors: cannot be written: No space left on device")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    failing(error)
    assert main.run(["fail"]) == 4
    assert capsys.readouterr().err.startswith("error: last.safetensors: cannot be written")


def test_an_error_of_the_program_is_one_line_and_a_file(failing, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("division by zero\nsecond line"))
    assert main.run(["fail"]) == 1
    (log,) = tmp_path.iterdir()
    expected = f"error: ZeroDivisionError: division by zero: an error of panet itself; the traceback is in {log}\n"
    assert capsys.readouterr().err == expected
    assert "raise error" in log.read_text()


def test_without_a_place_for_the_file_the_line_says_how_to_see_more(failing, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    failing(ZeroDivisionError())
    assert main.run(["fail"]) == 1
    assert "ZeroDivisionError: an error of panet itself; add --debug for the traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(failing, capsys, arguments: list[str]) -> None:
    failing(ConfigError("bad"))
    assert main.run(arguments) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_debug_after_two_dashes_is_a_name(capsys) -> None:
    assert main.run(["train", "--", "--debug"]) == 2
    assert capsys.readouterr().err == "error: --debug: no such folder\n"


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (typer.Exit(5), 5)])
def test_what_is_no_error_says_nothing(failing, capsys, error: BaseException, code: int) -> None:
    failing(error)
    assert main.run(["fail"]) == code
    assert capsys.readouterr() == ("", "")


def test_a_signal_keeps_its_code(failing, capsys) -> None:
    failing(SystemExit(143))
    with pytest.raises(SystemExit, match="143"):
        main.run(["fail"])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'? (`panet --help` tells more)"),
        (["train", "--quux"], "No such option: --quux (`panet train --help` tells more)"),
        (["train", "--steps", "x"], "Invalid value for '--steps'"),
        (["config", "--model", "panet_r5"], "model 'panet_r5' is unknown (did you mean 'panet_r50'?)"),
        (["config", "--set", "train.lerning_rate=1"], "did you mean 'learning_rate'?"),
    ],
)
def test_a_slip_is_told_in_one_line(capsys, arguments: list[str], message: str) -> None:
    assert main.run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_without_a_command_the_help_is_printed(capsys) -> None:
    assert main.run([]) == 0
    assert {"train", "eval", "predict", "demo", "config"} <= set(capsys.readouterr().out.split())


def test_the_version_is_printed(capsys) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"panet {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["config"], ["config", "--list"]])
def test_a_question_is_answered_without_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from panet.cli.main import run; code = run(sys.argv[1:]); "
        "sys.exit(code or ('torch' in sys.modules and 'torch was imported'))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "panet", "config"], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_name_in_another_script_does_not_end_a_run() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    code = "from panet.cli.main import run; run(['--version']); print('\\xe4')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("ascii") == f"panet {__version__}\n\\xe4\n"


@pytest.mark.parametrize("arguments", [["--version"], ["no-such-command"]])
def test_one_of_several_processes_leaves_at_once_or_when_the_others_heard_of_its_error(
    arguments, monkeypatch, capsys
) -> None:
    codes: list[int] = []
    waited: list[float] = []
    monkeypatch.setattr(main.sys, "argv", ["panet", *arguments])
    monkeypatch.setattr(main.os, "_exit", codes.append)
    monkeypatch.setattr(main.time, "sleep", waited.append)
    monkeypatch.setattr(main.gc, "freeze", lambda: None)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SystemExit):
        main.main()
    assert codes == [main.run(arguments)]
    assert len(waited) == (codes != [0])
