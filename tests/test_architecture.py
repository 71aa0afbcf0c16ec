"""The shape of the code, held by its syntax trees: who imports whom, how long things are, what is never called."""

import ast
import functools
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "panet"
FILES = sorted(SOURCE.rglob("*.py"))
ALL_FILES = FILES + sorted((ROOT / "benchmarks").rglob("*.py"))

# Row -> the rows below it that it may import, late imports in functions included. A file of the package's top is the
# row of its name; `settings` and `presets` are ways to make a config.
ALLOWED = {
    "errors": set(),
    "structures": {"errors"},
    "config": {"errors"},
    "ops": {"errors"},
    "data": {"structures", "ops", "errors"},
    "model": {"structures", "ops", "errors"},
    "objective": {"structures", "ops", "model", "errors"},
    "weights": {"structures", "model", "config", "errors"},
    "evaluate": {"structures", "ops", "data", "model", "errors"},
    "train": {"structures", "config", "data", "objective", "weights", "errors"},
    "detection": {"structures", "config", "ops", "data", "model", "objective", "weights", "errors"},
    "ablation": {"config", "evaluate", "errors"},
    "predict": {"structures", "ops", "data", "model", "weights", "errors"},
    "bench": {"structures", "ops", "data", "model", "objective", "errors"},
    "doctor": {"structures", "ops", "data", "errors"},
    "export": {"structures", "model", "weights", "errors"},
    "serve": {"structures", "predict", "errors"},
}
ALLOWED["cli"] = set(ALLOWED)
ROW_OF_FILE = {"settings": "config", "presets": "config", "__init__": "cli", "__main__": "cli"}
MAY_READ_CONFIG = ("data/build.py", "model/build.py", "objective/build.py")

BANNED_IMPORTS = {"pickle", "marshal", "shelve", "joblib", "dill", "torchvision.io", "PIL.ImageMath"}
BANNED_CALLS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "torch.hub.load",
    "extractall",
}
BANNED_ATTRIBUTES = {"LOAD_TRUNCATED_IMAGES", "MAX_IMAGE_PIXELS"}
# torch.load only with weights_only=True, and only where another project's weights are read.
MAY_TORCH_LOAD = ("model/pretrained.py", "weights/foreign.py")
# An unpickler that admits arrays and nothing else.
MAY_UNPICKLE = ("weights/unpickle.py",)
BANNED_WORDS = {"data", "info", "tmp", "res", "ret", "blob", "obj", "util", "utils", "helper", "misc", "manager"}
# `data` is the section of the settings, and PyYAML's name for an argument.
MAY_SAY_DATA = {"config.py", "settings.py", "presets.py", "data/build.py", "cli/train.py", "cli/training.py"}


def place(path: Path) -> str:
    return path.relative_to(SOURCE if path.is_relative_to(SOURCE) else ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def nodes(paths: list[Path], *kinds: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    """Give every node of some kinds with its file's name."""
    for path in paths:
        yield from ((place(path), node) for node in ast.walk(tree(path)) if isinstance(node, kinds))


def module_name(path: Path) -> str:
    return ".".join(("panet", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def row_of(module: str) -> str:
    """Give the row of a module: "panet.data.coco" -> "data", "panet.settings" -> "config", "panet" -> "cli"."""
    first = [*module.split("."), "__init__"][1]
    return ROW_OF_FILE.get(first, first)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Give what a file imports, "from a import b" as a and as a.b, with the line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ".", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def dotted(node: ast.AST) -> str:
    """Give "os.system" for its expression; an empty string for anything but names and attributes."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".removeprefix(".")
    return node.id if isinstance(node, ast.Name) else ""


def test_imports_point_down() -> None:
    known = {module_name(path) for path in FILES} - {"panet"}  # it gives __version__ to all, and imports errors only
    wrong = []
    for path in FILES:
        row = row_of(module_name(path))
        allowed = ALLOWED[row] | {row} | ({"config"} if place(path) in MAY_READ_CONFIG else set())
        wrong += [
            f"{place(path)}:{line}: {row} imports {name}"
            for name, line in imports(path)
            if name in known and row_of(name) not in allowed
        ]
    assert wrong == []


def test_the_package_itself_imports_errors_only() -> None:
    top = [node for node in tree(SOURCE / "__init__.py").body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) or node.names[0].name for node in top} == {
        "importlib",
        "typing",
        "panet.errors",
    }


def test_imports_are_absolute() -> None:
    assert [f"{file}:{node.lineno}" for file, node in nodes(FILES, ast.ImportFrom) if node.level] == []


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL_FILES}
    assert {file: length for file, length in lengths.items() if length > 300} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    functions = nodes(ALL_FILES, ast.FunctionDef, ast.AsyncFunctionDef)
    assert [f"{file}: {node.name}" for file, node in functions if node.end_lineno - node.lineno >= 60] == []


def test_public_names_are_listed_once_and_in_order() -> None:
    """Constants, classes, functions, each by the alphabet, as ruff sorts them."""
    listed, wrong = set(), []
    for file, node in nodes(FILES, ast.Assign):
        if dotted(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            listed.add(file)
            if names != sorted(set(names), key=lambda name: (not name.isupper(), not name[0].isupper(), name)):
                wrong.append(file)
    assert wrong == []
    unlisted = {place(path) for path in FILES if path.stem not in ("__init__", "__main__")} - listed
    assert unlisted == set()


def test_every_file_says_what_it_is() -> None:
    assert [place(path) for path in FILES if path.read_text().strip() and not ast.get_docstring(tree(path))] == []


def test_nothing_dangerous_is_imported_or_called() -> None:
    wrong = [
        f"{place(path)}:{line}: {name}"
        for path in ALL_FILES
        for name, line in imports(path)
        if name in BANNED_IMPORTS and not (name == "pickle" and place(path) in MAY_UNPICKLE)
    ]
    wrong += [
        f"{file}:{node.lineno}: {dotted(node.func)}"
        for file, node in nodes(ALL_FILES, ast.Call)
        if dotted(node.func) in ("pickle.load", "pickle.loads", "pickle.Unpickler")
    ]
    for file, node in nodes(ALL_FILES, ast.Call):
        name = dotted(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        unsafe_load = file not in MAY_TORCH_LOAD or options.get("weights_only") != "True"
        if (
            name in BANNED_CALLS
            or name.endswith(".extractall")
            or (name == "torch.load" and unsafe_load)
            or options.get("shell") == "True"
            or options.get("allow_pickle") == "True"
        ):
            wrong.append(f"{file}:{node.lineno}: {name}")
    for file, node in nodes(ALL_FILES, ast.Attribute):
        if node.attr in BANNED_ATTRIBUTES:
            wrong.append(f"{file}:{node.lineno}: {node.attr}")
    assert wrong == []


def test_no_error_is_swallowed_unseen() -> None:
    wrong = []
    for file, node in nodes(ALL_FILES, ast.ExceptHandler):
        silent = all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
        if node.type is None or (silent and dotted(node.type) in ("Exception", "BaseException")):
            wrong.append(f"{file}:{node.lineno}")
    assert wrong == []


def test_no_name_says_nothing() -> None:
    named = [(file, node.lineno, node.id) for file, node in nodes(FILES, ast.Name) if isinstance(node.ctx, ast.Store)]
    named += [(file, node.lineno, node.arg) for file, node in nodes(FILES, ast.arg)]
    named += [(file, node.lineno, node.name) for file, node in nodes(FILES, ast.FunctionDef, ast.ClassDef)]
    wrong = [
        f"{file}:{line}: {name}"
        for file, line, name in named
        if name in BANNED_WORDS and not (name == "data" and file in MAY_SAY_DATA)
    ]
    assert wrong == []


def test_nothing_is_left_to_do_later() -> None:
    comments = [
        f"{place(path)}:{token.start[0]}: {token.string}"
        for path in ALL_FILES
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        if token.type == tokenize.COMMENT
    ]
    assert [comment for comment in comments if any(mark in comment for mark in ("TODO", "FIXME", "XXX"))] == []
