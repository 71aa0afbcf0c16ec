"""`panet env`: what a result or a time may depend on."""

from typing import Annotated

import typer

__all__ = ["show_environment"]

_PACKAGES = ("torchvision", "timm", "numpy")


def show_environment(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print versions, devices, threads, what the processor can do, and whether the compiled kernels are in use."""
    import json

    facts = _collect()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        width = max(map(len, facts))
        typer.echo("\n".join(f"{name:{width}}  {_in_words(value)}" for name, value in facts.items()))


def _collect() -> dict[str, object]:
    import importlib.metadata
    import platform

    import torch

    from panet import __version__
    from panet.ops import native

    processor = torch.cpu.get_capabilities()
    return {
        "panet": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # its build too, such as +cpu
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "devices": _devices(),
        "threads": torch.get_num_threads(),
        "cores": processor.get("num_physical_cores"),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": [name for name, there in processor.items() if there and name.endswith("bf16")],
        "native": native.LIBRARY is not None,
        "native_vectors": native.vectors() if native.LIBRARY is not None else None,
        "native_problem": native.PROBLEM or None,
    }


def _devices() -> list[str]:
    import torch

    cuda = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return {"True": "in use", "False": "not in use", "None": "none"}.get(str(value), str(value))
