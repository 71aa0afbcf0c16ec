"""`panet import`: a checkpoint of the official code, torchvision, Detectron2 or mmdetection -> a model file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from panet.config import ModelConfig
    from panet.weights.checkpoint import ModelFile
    from panet.weights.importing import Imported

__all__ = ["import_checkpoint"]


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="File of weights: .pth, .pkl, .safetensors.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write, .safetensors.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="official, torchvision, detectron2 or mmdetection; found out where it is clear."),
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="List what does not fit, and go on.")] = False,
    all_ids: Annotated[
        bool, typer.Option("--all-ids", help="Keep torchvision's 91 outputs, not only those of COCO's 80 classes.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the model, e.g. model.short_side=800."),
    ] = None,
    warm_preset: Annotated[
        str | None,
        typer.Option("--warm-start", metavar="PRESET", help="Begin a PANet with them, e.g. panet_r50."),
    ] = None,
    target: Annotated[
        Literal["torchvision"] | None, typer.Option("--to", help="Write a state dict for torchvision instead.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")] = False,
) -> None:
    """Make a model file from a checkpoint of another project, or back; every tensor is accounted for."""
    from panet.errors import CheckpointError
    from panet.presets import preset
    from panet.weights.checkpoint import save_model, save_weights
    from panet.weights.export import to_torchvision
    from panet.weights.foreign import is_ours

    _check_output(output, target, overwrite)
    if target is not None and warm_preset is not None:
        raise CheckpointError("--warm-start makes a PANet, which --to torchvision cannot write: give one of them")
    wanted = preset(warm_preset).model if warm_preset is not None else None
    if target is None and wanted is None and is_ours(checkpoint):
        raise CheckpointError(
            f"{checkpoint}: is a panet model already: use it, or give --to torchvision or --warm-start"
        )
    model = _read(checkpoint, source, partial, all_ids)
    if wanted is not None:
        model = _started(model, wanted, str(warm_preset))
    config = _changed(model.config, model.state, assignments) if assignments else model.config
    if target is not None:
        save_weights(output, to_torchvision(model.state, config))
    else:
        save_model(output, model.state, config, model.label_map, notes=model.notes)
    typer.echo(f"written: {output}")


def _read(checkpoint: Path, source: str | None, partial: bool, all_ids: bool) -> "ModelFile":
    from panet.weights.checkpoint import ModelFile, load_model
    from panet.weights.foreign import is_ours
    from panet.weights.importing import import_file

    if is_ours(checkpoint):
        return load_model(checkpoint)
    imported = import_file(checkpoint, source, partial=partial, all_ids=all_ids)
    _report(imported)
    notes = {"imported": f"{imported.source}: {checkpoint.name}", "remarks": "; ".join(imported.remarks)}
    return ModelFile(imported.config, imported.label_map, imported.state, notes)


def _started(model: "ModelFile", target: "ModelConfig", name: str) -> "ModelFile":
    from panet.weights.checkpoint import ModelFile
    from panet.weights.warm_start import warm_start

    started = warm_start(model.state, model.config, target)
    for what, names in (("copied", started.copied), ("new", started.new), ("left out", started.left)):
        _list(what, names)
    notes = {**model.notes, "warm start": f"{name}, new: {', '.join(started.new)}"}
    return ModelFile(started.config, model.label_map, started.state, notes)


def _changed(config: "ModelConfig", state: "Mapping[str, Tensor]", assignments: list[str]) -> "ModelConfig":
    """Change settings that leave the network's parts as they are."""
    from panet.config import Config
    from panet.errors import ConfigError
    from panet.model.build import build_model
    from panet.settings import changed
    from panet.weights.checkpoint import check_fit

    for assignment in assignments:
        if not assignment.startswith("model."):
            raise ConfigError(f"--set {assignment}: a model file holds settings of model only: begin with model.")
    config = changed(Config(model=config), assignments).model
    check_fit("--set", state, build_model(config, load_backbone=False).state_dict())
    return config


def _check_output(output: Path, target: str | None, overwrite: bool) -> None:
    from panet.errors import CheckpointError

    endings = (".safetensors",) if target is None else (".safetensors", ".pth", ".pt")
    if output.suffix not in endings:
        raise CheckpointError(f"{output}: the output's name must end in {' or '.join(endings)}")
    if not output.parent.is_dir():
        raise CheckpointError(f"{output}: there is no folder {output.parent}: make it first")
    if output.exists() and not overwrite:
        raise CheckpointError(f"{output}: exists already: add --overwrite to replace it")


def _report(imported: "Imported") -> None:
    config = imported.config
    kind = "Faster R-CNN" if config.mask_head is None else "Mask R-CNN"
    name = "PANet" if config.neck.bottom_up else kind
    size = f"{config.num_classes} classes, {len(imported.state)} tensors"
    typer.echo(f"{imported.source}: {name}, {config.backbone.name}, {size}")
    for remark in imported.remarks:
        typer.echo(f"- {remark}")
    _list("unused", imported.unused)
    _list("missing, now random", imported.missing)


def _list(what: str, names: "Sequence[str]") -> None:
    typer.echo(f"- {what}: {len(names)}{':' if names else ''}")
    for name in names:
        typer.echo(f"    {name}")
