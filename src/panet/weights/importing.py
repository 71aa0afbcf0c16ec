"""A foreign state dict -> our settings, classes and weights, every name accounted for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError
from panet.model.build import build_model
from panet.structures import LabelMap
from panet.weights import tables
from panet.weights.coco import default_labels, every_coco_id
from panet.weights.convert import Renamed, fit, rename
from panet.weights.foreign import Foreign, read_foreign
from panet.weights.recognise import recognise
from panet.weights.sources import add_neck_biases, background_first, describe, keep_coco_rows, with_epsilon

__all__ = ["Imported", "import_file", "import_weights"]

_MOST_BLOCKS = (3, 8, 36, 3)  # ResNet-152; rows of blocks that a file lacks are never asked for
_TABLES = {
    "official": tables.official(_MOST_BLOCKS),
    "torchvision": {**tables.torchvision_v1_names(), **tables.torchvision(_MOST_BLOCKS)},
    "detectron2": tables.detectron2(_MOST_BLOCKS),
    "mmdetection": tables.mmdetection(_MOST_BLOCKS),
}
# Names that carry nothing: constants which the settings hold.
_CONSTANTS = {
    "detectron2": r"proposal_generator\.anchor_generator\.cell_anchors\.\d+|pixel_mean|pixel_std",
    "mmdetection": r"data_preprocessor\.(mean|std)",
}


@dataclass(frozen=True)
class Imported:
    """A foreign checkpoint as ours.

    Args:
        source: whose it was.
        config: the settings of its model.
        label_map: its classes.
        state: our name -> tensor; all that the model has.
        remarks: what was decided, and what may differ from the original, a line each.
        unused: foreign names that were left out; empty unless `partial`.
        missing: foreign names that were expected and absent, random weights in their place; as above.
    """

    source: str
    config: ModelConfig
    label_map: LabelMap
    state: dict[str, Tensor]
    remarks: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]


def import_file(path: Path, told: str | None = None, *, partial: bool = False, all_ids: bool = False) -> Imported:
    """Read and convert a foreign checkpoint; the arguments are those of `import_weights`.

    Raises:
        CheckpointError: it cannot be read, its source is unclear, or its tensors do not fit.
    """
    foreign = read_foreign(path)
    try:
        return import_weights(foreign, told, partial=partial, all_ids=all_ids)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def import_weights(
    foreign: Foreign, told: str | None = None, *, partial: bool = False, all_ids: bool = False
) -> Imported:
    """Convert a foreign state dict.

    Args:
        foreign: the file's content.
        told: its source, where the user has named it.
        partial: list what is unused or missing and go on; missing weights are random.
        all_ids: keep torchvision's 91 outputs instead of those of COCO's 80 ids in use.

    Raises:
        CheckpointError: the source is unclear, a shape does not fit, or names are unused or missing.
    """
    source = recognise(foreign.state, told)
    table = _TABLES[source]
    renamed = rename(foreign.state, table)
    constants = [name for name in renamed.unused if re.fullmatch(_CONSTANTS.get(source, r"(?!)"), name)]
    state, remarks = _adjust(renamed.state, source, all_ids)
    config = describe(state, source, foreign.settings)
    model = build_model(config, load_backbone=False)
    unused = [name for name in renamed.unused if name not in constants]
    converted = fit(Renamed(state, renamed.origin, unused), model, partial=partial)
    missing = _foreign_names(converted.missing, table)
    if not partial and (converted.unused or missing):
        raise CheckpointError(_unexplained(source, converted.unused, missing))
    if constants:
        remarks.append(f"not needed, the settings hold them: {', '.join(constants)}")
    remarks += _habits(config, source)
    return Imported(
        source,
        config,
        every_coco_id() if all_ids and config.num_classes == 90 else default_labels(config.num_classes),
        {name: converted.state.get(name, tensor).to(tensor.dtype) for name, tensor in model.state_dict().items()},
        tuple(remarks),
        tuple(converted.unused),
        tuple(missing),
    )


def _adjust(state: Mapping[str, Tensor], source: str, all_ids: bool) -> tuple[dict[str, Tensor], list[str]]:
    """Bring class order and batch norms into our form; tell what was done."""
    remarks = []
    if source in ("detectron2", "mmdetection"):
        remarks.append("classes: the background's row moves from the last place to the first")
        return add_neck_biases(background_first(state)), remarks
    adjusted = dict(state)
    if source != "torchvision":
        return adjusted, remarks
    logits = state.get("box_head.class_logits.weight")
    if logits is not None and len(logits) == 91 and not all_ids:
        remarks.append("classes: of 91 outputs the 80 of COCO's ids in use and the background (--all-ids keeps all)")
        adjusted = keep_coco_rows(adjusted)
    if not any(name.endswith("num_batches_tracked") for name in state):
        remarks.append("batch norms: frozen, taken as those of the COCO weights, whose epsilon is 0")
        adjusted = with_epsilon(adjusted, 0.0)
    return adjusted, remarks


def _habits(config: ModelConfig, source: str) -> list[str]:
    """Say what of the original's arithmetic is not ours."""
    if source in ("detectron2", "mmdetection"):
        strided = "1x1" if config.backbone.stride_in_1x1 else "3x3"
        return [
            f"settings taken: {config.pixels.channels} pixels, mean {config.pixels.mean}, std {config.pixels.std}, "
            f"stride in the {strided} conv",
            "detections were not compared with the original's",
        ]
    return []


def _foreign_names(ours: list[str], table: Mapping[str, str]) -> list[str]:
    """Give the names under which a source has what is missing; of several, today's."""
    theirs = {layer: name for name, layer in table.items()}
    names = []
    for name in ours:
        layer, _, leaf = name.rpartition(".")
        names.append(f"{theirs[layer]}.{leaf}" if layer in theirs else name)
    return names


def _unexplained(source: str, unused: list[str], missing: list[str]) -> str:
    problems = [
        f"{len(names)} {what}, first {', '.join(names[:3])}"
        for what, names in (("missing", missing), ("not understood", unused))
        if names
    ]
    return f"{source}: {'; '.join(problems)}: --partial goes on without them"
