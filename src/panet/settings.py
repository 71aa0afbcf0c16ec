"""Settings as text: a YAML file or a preset, then `a.b=1` assignments, to a checked Config; and back.

YAML is read strictly: plain values only (YAML 1.2's, so that 1e-3 is a number and `no` is a word), no tags, no
aliases, no key twice. `none` means null wherever a setting may be null.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from panet.config import Config
from panet.errors import ConfigError, nearest
from panet.presets import preset

__all__ = ["changed", "differences", "flat_settings", "read_config", "to_yaml"]

_DEFAULT = "panet_r50"

_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """YAML without tags, aliases and doubled keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (declared so in the base class)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem=f"alias *{event.anchor}; write it out", problem_mark=mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"tag {event.tag!r}; write plain values", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key that is not a word", problem_mark=key.start_mark)
            if key.value in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} twice (first in line {lines[key.value]}); remove one",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = key.start_mark.line + 1
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (declared so in the base class)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_list(self, data: Any) -> yaml.SequenceNode:
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # Single quotes would fold a line break (U+0085 is one) into a blank.
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if data.isprintable() else '"')


_Dumper.add_representer(list, _Dumper.represent_list)
_Dumper.add_representer(str, _Dumper.represent_text)


for _tag, _pattern, _first in _RESOLVERS:
    for _side in (_Loader, _Dumper):
        _regexp = re.compile(f"(?:{_pattern})\\Z")
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _regexp, ["" if c == "\0" else c for c in _first])


def read_config(path: Path | None, preset_name: str | None, assignments: Sequence[str] = ()) -> Config:
    """Give the settings of a file or of a preset (by default panet_r50), changed by assignments.

    What is not set keeps its default. read_config(to_yaml(c)) == c.

    Args:
        path: a YAML file; not together with a preset.
        preset_name: one of `panet.presets.PRESETS`.
        assignments: "section.key=value", the value in YAML; later ones win.

    Raises:
        ConfigError: names the file, the key and what was expected.
    """
    if path is not None and preset_name is not None:
        raise ConfigError(f"{path} is complete: give it or model {preset_name!r}, not both")
    if path is not None:
        settings, where = _read_file(path), f"{path}: "
        _check(settings, where)
    else:
        settings, where = preset(preset_name or _DEFAULT).model_dump(mode="json", exclude_unset=True), ""
    if not assignments:
        return _check(settings, where)
    for assignment in assignments:
        _assign(settings, assignment)
    return _check(settings, "--set ")


def changed(config: Config, assignments: Sequence[str]) -> Config:
    """Give settings changed by assignments, as `read_config` takes them; the same errors."""
    settings = config.model_dump(mode="json")
    for assignment in assignments:
        _assign(settings, assignment)
    return _check(settings, "--set ")


def to_yaml(config: Config) -> str:
    """Write all settings, defaults too, as YAML that `read_config` reads."""
    settings = config.model_dump(mode="json")
    return yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def differences(old: Config, new: Config) -> dict[str, tuple[object, object]]:
    """Give the settings in which two configs differ: dotted key -> (old, new)."""
    before, after = dict(_flatten(old.model_dump())), dict(_flatten(new.model_dump()))
    keys = dict.fromkeys([*before, *after])
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def flat_settings(config: Config) -> dict[str, Any]:
    """Give all settings by their dotted keys."""
    return dict(_flatten(config.model_dump(mode="json")))


def _flatten(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give a YAML file of settings") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; give a YAML file of settings") from error
    settings = _parse(text, str(path))
    if not isinstance(settings, dict) or not settings:
        raise ConfigError(f"{path}: holds no settings; expected sections such as 'model:' and 'train:'")
    return settings


def _parse(text: str, where: str) -> Any:
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise ConfigError(f"{where}{place}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        cause = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise ConfigError(f"{where}: not readable as YAML: {cause:.100}") from error


def _assign(settings: dict[str, Any], assignment: str) -> None:
    name, equals, text = assignment.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {assignment}: expected section.key=value, such as train.seed=1")
    if not text.strip():
        raise ConfigError(f"--set {assignment}: has no value; write none for null")
    section = settings
    for depth, key in enumerate(keys[:-1], start=1):
        if not isinstance(section.get(key), dict):
            if _model_at(keys[:depth]) is None:
                raise _no_section(keys, depth)
            section[key] = {}
        section = section[key]
    section[keys[-1]] = _parse(text, f"--set {assignment:.60}")


def _check(settings: dict[str, Any], where: str) -> Config:
    # JSON mode, because under `strict` a list is no tuple; JSON has lists only.
    try:
        return Config.model_validate_json(json.dumps(_with_nulls(settings, Config)))
    except ValidationError as error:
        raise _explain(error.errors(include_url=False), where) from error


def _with_nulls(section: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Turn `none` into null where the setting may be null."""
    changed = dict(section)
    for key, value in section.items():
        if key not in model.model_fields:
            continue
        inner = _section_of(model, key)
        if inner is not None and isinstance(value, dict):
            changed[key] = _with_nulls(value, inner)
        elif value == "none" and NoneType in get_args(model.model_fields[key].annotation):
            changed[key] = None
    return changed


def _section_of(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Give the class of a section in a section, or None for a plain setting or an unknown one."""
    if key not in model.model_fields:
        return None
    annotation = model.model_fields[key].annotation
    kinds = get_args(annotation) or (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _model_at(keys: Sequence[str]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Config
    for key in keys:
        if model is not None:
            model = _section_of(model, key)
    return model


def _no_section(keys: Sequence[str], depth: int) -> ConfigError:
    *parents, key = keys[:depth]
    model = _model_at(parents)
    assert model is not None  # the caller went down from the top and stopped at the first that is none
    if key not in model.model_fields:
        return _unknown(keys[:depth], "--set ")
    name = ".".join(keys[:depth])
    return ConfigError(f"--set {'.'.join(keys)}: {name} is one setting, not a section; write {name}=...")


def _explain(errors: Sequence[ErrorDetails], where: str) -> ConfigError:
    # An unknown key comes first: it is often why another is missing.
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    if first["type"] == "extra_forbidden":
        return _unknown([str(part) for part in first["loc"]], where)
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    message = first["msg"].removeprefix("Value error, ")
    what = message[:1].lower() + message[1:]
    if first["type"] == "value_error":
        return ConfigError(f"{where}{name}: {what}")
    return ConfigError(f"{where}{name}: {what}, got {first['input']!r:.60}")


def _unknown(keys: Sequence[str], where: str) -> ConfigError:
    """Name an unknown key, and the one that was probably meant: beside it, or of the same name elsewhere."""
    *parents, key = keys
    model = _model_at(parents)
    assert model is not None  # only sections have unknown keys
    elsewhere = [name for name, _ in _flatten(Config().model_dump()) if name.rpartition(".")[2] == key]
    hint = nearest(key, model.model_fields) or nearest(elsewhere[0] if elsewhere else key, elsewhere)
    return ConfigError(
        f"{where}{'.'.join([*parents, key])} is unknown{hint or '; `panet config` prints the known ones'}"
    )
