"""JSON files, read strictly: a broken one gives line and column, a repeated key is refused."""

import json
from pathlib import Path
from typing import Any, NoReturn

from panet.data.images import printable
from panet.data.problems import BadDataError, Outcome, Problem

__all__ = ["read_json"]

_MAX_DEPTH = 200  # lists and objects in each other: far below where Python gives up, here or in whoever walks through
_NESTING = {dict, list}


def read_json(path: Path) -> Any:
    """Read a UTF-8 JSON file, with or without a byte-order mark.

    Raises:
        BadDataError: no such file, no UTF-8, broken JSON (line and column), a key given twice in one object, more than
            200 lists and objects in each other.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may never end
            _refuse(path, "json-unreadable", "is no file" if not path.is_dir() else "is a folder, not a JSON file")
        text = path.read_bytes().decode("utf-8-sig")
        content = json.loads(text, object_pairs_hook=_read_object)
        _check_depth(content)
        return content
    except FileNotFoundError:
        _refuse(path, "json-missing", "no such file")
    except OSError as error:
        _refuse(path, "json-unreadable", f"cannot be read ({error.strerror})")
    except UnicodeDecodeError as error:
        what = _recognise(path)
        why = f"is {what}, not JSON" if what else f"is not UTF-8 text (byte {error.start}); save the JSON as UTF-8"
        _refuse(path, "json-not-text", why)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        why = f"broken JSON at {where}: {error.msg}; write the file again"
        _refuse(path, "json-broken", "is empty; write the file again" if not text.strip() else why)
    except RecursionError:
        _refuse(path, "json-too-deep", "JSON is nested too deeply to be annotations")
    except _RepeatedKeyError as error:
        _refuse(path, "json-repeated-key", f"key {error} occurs twice in one object; keep one of them")
    except ValueError as error:
        _refuse(path, "json-long-number", f"holds a number too long to be read ({error})")


def _refuse(path: Path, rule: str, why: str) -> NoReturn:
    raise BadDataError([Problem(Outcome.FATAL, rule, printable(path), "", why)]) from None


def _recognise(path: Path) -> str:
    """Name what a file is that people take for JSON; an empty string for anything else."""
    signs = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive", b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture"}
    with open(path, "rb") as stream:
        start = stream.read(4)
    return next((what for sign, what in signs.items() if start.startswith(sign)), "")


def _check_depth(content: Any) -> None:
    """Raise RecursionError if lists and objects lie too deep in each other."""
    level = [content]
    for _ in range(_MAX_DEPTH + 1):
        rows = [node.values() if type(node) is dict else node for node in level if type(node) in _NESTING]
        if not rows:
            return
        nested = [row for row in rows if not _NESTING.isdisjoint(map(type, row))]  # most are lists of numbers
        level = [child for row in nested for child in row]
    raise RecursionError


class _RepeatedKeyError(Exception):
    """Which key it was; the JSON reader's own choice would be to keep the last."""


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(repr(key)[:80])
            seen.add(key)
    return entries
