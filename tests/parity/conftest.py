"""Parity with recorded tensors: loading them, comparing, and a table of the largest errors at the end of the run."""

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

ORACLE = Path(__file__).parent / "oracle"
ERRORS = pytest.StashKey[dict[tuple[str, str], tuple[float, float]]]()


class Oracle:
    """One file of recorded tensors: weights `sd.*`, inputs `in.*`, outputs `out.*`, settings in the metadata."""

    def __init__(self, name: str) -> None:
        path = next(ORACLE.glob(f"{name}_*.safetensors"))
        with safe_open(path, framework="pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            self.settings = dict(file.metadata())

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key]

    def weights(self, prefix: str = "") -> dict[str, Tensor]:
        """Give the official state dict, each name with a prefix put before it."""
        return {prefix + key[3:]: value for key, value in self.tensors.items() if key.startswith("sd.")}

    def pyramid(self, prefix: str) -> dict[int, Tensor]:
        """Give {level: tensor} of the keys that are `prefix` and one digit."""
        head = len(prefix)
        found = {key[head:]: value for key, value in self.tensors.items() if key.startswith(prefix)}
        return {int(level): value for level, value in sorted(found.items()) if level.isdigit()}


@pytest.fixture
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture
def official_keys() -> Callable[[str], dict[str, tuple[int, ...]]]:
    """Give key -> shape of one of the three official checkpoints."""

    def read(name: str) -> dict[str, tuple[int, ...]]:
        document = json.loads((ORACLE / f"official_keys_{name}.json").read_text())
        return {key: tuple(shape) for key, shape in document.items()}

    return read


@pytest.fixture
def made_weights() -> Callable[[str, tuple[int, ...]], Tensor]:
    """Weights made from key and shape, as the recorded full-size outputs were."""
    specification = importlib.util.spec_from_file_location("detweights", ORACLE / "detweights.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return lambda key, shape: torch.from_numpy(module.det_tensor(key, shape))


def _spread_outputs(model: Any) -> None:
    """Scale the output layers so that logits and deltas vary as in a trained model: thousands of boxes compete."""
    head = model.roi_heads
    wanted = {
        model.rpn.head.cls_logits: 2.0,
        model.rpn.head.bbox_pred: 0.3,
        head.box_predictor.cls_score: 2.0,
        head.box_predictor.bbox_pred: 1.0,
    }
    if head.mask_predictor is not None:
        wanted[head.mask_predictor.mask_fcn_logits] = 2.0

    def rescale(layer: Any, inputs: Any, output: Tensor) -> Tensor | None:
        if output.numel() and layer in wanted:
            layer.weight.data *= wanted.pop(layer) / output.std()
        return torch.nn.functional.linear(inputs[0], layer.weight, layer.bias) if inputs[0].ndim == 2 else None

    hooks = [layer.register_forward_hook(rescale) for layer in wanted]
    for _ in range(3):  # stage by stage: each pass sees the layers before it rescaled
        model([torch.rand(3, 256, 256)])
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="session")
def spread_outputs() -> Callable[[Any], None]:
    """Make a torchvision model with random weights detect much."""
    return _spread_outputs


@pytest.fixture
def same(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Check `got` against `expected` within atol * max(1, |expected|max); the error goes into the table."""
    table = request.config.stash.setdefault(ERRORS, {})

    def check(fixture: str, what: str, got: Any, expected: Any, atol: float = 1e-4) -> None:
        got, expected = (torch.as_tensor(value).detach().cpu().double() for value in (got, expected))
        assert got.shape == expected.shape, (what, got.shape, expected.shape)
        error = float((got - expected).abs().max()) if got.numel() else 0.0
        allowed = atol * max(1.0, float(expected.abs().max())) if expected.numel() else atol
        table[fixture, what] = (error, allowed)
        assert error <= allowed, f"{what}: largest error {error:.3g}, allowed {allowed:.3g}"

    yield check  # noqa: PT022 (a yield keeps the fixture's type next to its check)


@pytest.fixture
def same_detections(same: Callable[..., None]) -> Callable[..., list[int]]:
    """Pair the detections of two implementations, and give for each expected one its partner's place.

    Partners have one label, boxes within `px` and scores within `score`. The order is that of the scores, so partners
    may have changed places only with detections whose scores tie within `score`: rounding decides there.
    """

    def check(
        fixture: str, what: str, got: Any, expected: Mapping[str, Any], px: float = 1e-3, score: float = 1e-5
    ) -> list[int]:
        boxes, scores, labels = (torch.as_tensor(each) for each in (got.boxes, got.scores, got.labels))
        assert (scores.diff() <= 0).all(), "not best first"
        near = (boxes[None] - expected["boxes"][:, None]).abs().amax(dim=2) <= px
        near &= (scores[None] - expected["scores"][:, None]).abs() <= score
        near &= labels[None] == expected["labels"][:, None]
        partners: list[int] = []
        for i, row in enumerate(near.tolist()):
            free = [j for j, fits in enumerate(row) if fits and j not in partners]
            assert free, f"{what}: nothing of ours is {expected['boxes'][i].tolist()}, score {expected['scores'][i]}"
            partners.append(free[0])
        assert len(partners) == len(boxes), f"{what}: {len(boxes)} detections, {len(partners)} of them expected"
        same(fixture, f"boxes, {what}", boxes[partners], expected["boxes"], atol=px / max(1, expected["boxes"].max()))
        same(fixture, f"scores, {what}", scores[partners], expected["scores"], atol=score)
        return partners

    return check


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    table = config.stash.get(ERRORS, {})
    if not table:
        return
    terminalreporter.section("parity: largest absolute error against the recorded tensors")
    for fixture in sorted({name for name, _ in table}):
        rows = {what: pair for (name, what), pair in table.items() if name == fixture}
        worst = max(rows, key=lambda what: rows[what][0] / max(rows[what][1], 1e-12))
        error, allowed = rows[worst]
        terminalreporter.write_line(
            f"{fixture:<34} {len(rows):>3} tensors   worst {worst:<26} {error:9.2e} of {allowed:.1e}"
        )
