"""Run a panet command with something broken in it: python -m faults.child module:function '{"step": 5}' -- train ..."""

import importlib
import json
import sys

from panet.cli.main import main


def apply(words: list[str]) -> None:
    """Call each patch with its keywords."""
    for spec, keywords in zip(words[::2], words[1::2], strict=True):
        module, _, name = spec.partition(":")
        getattr(importlib.import_module(module), name)(**json.loads(keywords))


if __name__ == "__main__":
    end = sys.argv.index("--")
    apply(sys.argv[1:end])
    sys.argv = ["panet", *sys.argv[end + 1 :]]
    main()
