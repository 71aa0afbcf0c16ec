"""Text files of data sets, read strictly: lines, and YAML whose every value is text."""

from pathlib import Path
from typing import Any

import yaml

from panet.data.images import printable
from panet.errors import DataError

__all__ = ["read_lines", "read_yaml"]


def read_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 text file; DataError, naming it, if that cannot be done."""
    name = printable(path)
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{name}: is no file; a text file is needed there")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys; every plain value stays text, so that a class may be called `no`.

    Raises:
        DataError: no such file, no UTF-8, no YAML of keys, or a key given twice.
    """
    name = printable(path)
    try:
        document = _Loader("\n".join(read_lines(path))).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f": line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""
        raise DataError(f"{name}{place}: {error.problem or error.context}; write valid YAML") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{name}: not readable as YAML; write it again") from error
    if not isinstance(document, dict):
        raise DataError(f"{name}: holds no keys; expected 'names:' and 'train:'")
    return document


class _Loader(yaml.BaseLoader):
    """YAML without aliases and doubled keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's own
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem=f"alias *{event.anchor}: write it out", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            mark: Any = key.start_mark
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key that is not a word", problem_mark=mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} twice", problem_mark=mark)
            seen.add(key.value)
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}
