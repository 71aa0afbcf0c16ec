"""The commands of `panet`, and what a user sees when one fails: a line, and an exit code.

0 done; 1 an error of this program; 2 bad input or settings; 3 the training diverged; 4 memory, disk or a process is
missing; 130 and 143 interrupted.
"""

import contextlib
import errno
import gc
import io
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from panet import __version__
from panet.cli.ablate import ablate
from panet.cli.bench import bench
from panet.cli.check import check
from panet.cli.config import show_config
from panet.cli.convert import convert_dataset
from panet.cli.demo import demo
from panet.cli.doctor import doctor
from panet.cli.env import show_environment
from panet.cli.eval import evaluate
from panet.cli.findings import say_errors
from panet.cli.import_ import import_checkpoint
from panet.cli.memory import keep_memory
from panet.cli.predict import predict
from panet.cli.ranks import check_command, keep_cause, make_way, rank_prefix, speaks_for_all
from panet.cli.replay import replay
from panet.cli.train import train
from panet.data.problems import BadDataError
from panet.errors import PANetError, PeerError

__all__ = ["main"]

_INTERNAL, _RESOURCE = 1, 4
_TIME_TO_HEAR = 1.0
"""Seconds in which the other processes read what this one told them of its error, before the connection ends."""
_EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# Parts of torch's messages -> what to do.
_RESOURCE_HINTS = {
    "out of memory": "lower --batch-size or data.short_sides",
    "can't allocate memory": "lower --batch-size or data.short_sides",
}

app = typer.Typer(
    help="PANet: instance segmentation (arXiv 1803.01534). Train, judge, show, predict.",
    add_completion=False,
    rich_markup_mode=None,  # importing rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", short_help="Train a model on a COCO data set.")(train)
app.command("eval", short_help="Print the AP of a model on a data set.")(evaluate)
app.command("check", short_help="Name every picture and annotation that cannot be used.")(check)
app.command("predict", short_help="Find the objects of pictures.")(predict)
app.command("demo", short_help="Find nuclei in three bundled pictures.")(demo)
app.command("doctor", short_help="Find what is wrong with a data set.")(doctor)
app.command("import", short_help="Make a model of another project's checkpoint.")(import_checkpoint)
app.command("convert", short_help="Write a data set in another format.")(convert_dataset)
app.command("ablate", short_help="Measure what each part of PANet is worth on a data set.")(ablate)
app.command("bench", short_help="Measure how fast a model is here.")(bench)
app.command("replay", short_help="Repeat the step at which a run diverged.")(replay)
app.command("config", short_help="Print the settings of a model.")(show_config)
app.command("env", short_help="Print versions, devices, and what is in use.")(show_environment)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"panet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
) -> None:
    """Take what holds for all commands; `run` reads --debug wherever it stands."""
    check_command(context.invoked_subcommand or "")


def main() -> None:
    """Run the command line of this process."""
    keep_memory()
    _clear_up_when_ended()
    try:
        code = run(sys.argv[1:])
    finally:
        gc.freeze()  # else Python takes a second to look through all that is imported before it ends
        _end_at_once_when_ended()
    if "RANK" in os.environ:
        # One of several processes: all has been written. What is left are threads of the connection, which now and
        # then abort when the other side ends first, and would give the code of a signal for that of the error.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if code:
            time.sleep(_TIME_TO_HEAR)
        os._exit(code)
    sys.exit(code)


def _clear_up_when_ended() -> None:
    """Let SIGTERM and SIGHUP end a process as Ctrl-C does: what it has begun is taken away, 143 and 129 are its codes.

    One of several processes ends at once: it may be waiting for others, and torchrun ends them all.
    """
    if "RANK" in os.environ:
        return
    for name in ("SIGTERM", "SIGHUP"):  # the last is not on Windows
        if hasattr(signal, name) and signal.getsignal(signal.Signals[name]) is signal.SIG_DFL:  # nohup ignores it
            signal.signal(signal.Signals[name], _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_at_once_when_ended() -> None:
    """Let a signal while Python itself ends take effect without a word: all has been cleared up."""
    if "RANK" in os.environ:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
                stream.flush()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(signal.Signals[name]) is not signal.SIG_IGN:
            signal.signal(signal.Signals[name], _end)


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


def run(arguments: Sequence[str]) -> int:
    """Run a command; give its exit code. Errors go to stderr, in one line each unless --debug is given."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name in another script must not end a run
            stream.reconfigure(errors="backslashreplace")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    debug = "--debug" in arguments[:end]
    kept = [argument for argument in arguments[:end] if argument != "--debug"] + list(arguments[end:])
    try:
        code = app(args=kept or ["--help"], prog_name="panet", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # `panet ... | head`: the reader has enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _INTERNAL
    except Exception as error:  # the outermost place: whatever it is, it becomes a line and a code
        if debug:
            traceback.print_exc()
        return _report(error)
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    if isinstance(error, PeerError) or (isinstance(error, typer.TyperException) and not speaks_for_all()):
        make_way()
        if str(error) and isinstance(error, PeerError):
            _say(str(error))
        return error.exit_code if isinstance(error, PeerError) else 2
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        hint = f" (`{context.command_path} --help` tells more)" if context is not None else ""
        _say(f"{error.format_message()}{hint}")
        return 2
    cause = error.__cause__ if isinstance(error, PANetError) and error.__cause__ is not None else error
    hint = next((hint for sign, hint in _RESOURCE_HINTS.items() if sign in str(cause)), "")
    exhausted = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in _EXHAUSTED)
    if isinstance(error, BadDataError) and not exhausted:
        keep_cause(say_errors(error))
        return error.exit_code
    if isinstance(error, PANetError):
        _say(str(error))
        return _RESOURCE if exhausted else error.exit_code
    if exhausted or hint:
        _say(f"{_first_line(error)}: {hint or 'free some and start again'}")
        return _RESOURCE
    _say(f"{_first_line(error)}: an error of panet itself; {_keep_traceback(error)}")
    return _INTERNAL


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to a file; say where, or how else to see it."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="panet-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.writelines(traceback.format_exception(error))
    except OSError:
        return "add --debug for the traceback"
    return f"the traceback is in {log.name}"


def _say(message: str) -> None:
    """Print one line to stderr, control characters escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    keep_cause(line)
    typer.echo(f"error: {rank_prefix()}{line}", err=True)
