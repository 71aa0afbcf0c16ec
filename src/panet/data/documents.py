"""JSON files, read strictly: a broken one gives line and column, a repeated key is refused."""

import json
from pathlib import Path
from typing import Any

from panet.data.images import printable
from panet.errors import DataError

__all__ = ["read_json"]


def read_json(path: Path) -> Any:
    """Read a UTF-8 JSON file, with or without a byte-order mark.

    Raises:
        DataError: no such file, no UTF-8, broken JSON (line and column), a key given twice in one object.
    """
    name = printable(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_read_object)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is not UTF-8 text (byte {error.start}); save the JSON as UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise DataError(f"{name}: broken JSON at {where}: {error.msg}; write the file again") from error
    except RecursionError as error:
        raise DataError(f"{name}: JSON is nested too deeply to be annotations") from error
    except _RepeatedKeyError as error:
        raise DataError(f"{name}: key {error} occurs twice in one object; keep one of them") from error
    except ValueError as error:
        raise DataError(f"{name}: holds a number too long to be read ({error})") from error


class _RepeatedKeyError(Exception):
    """Which key it was; the JSON reader's own choice would be to keep the last."""


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(repr(next(key for key in keys if keys.count(key) > 1)))
    return entries
