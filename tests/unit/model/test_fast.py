"""The fast form finds what the plain form finds."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from panet.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, NeckConfig, PoolingConfig
from panet.errors import ConfigError
from panet.model import fast as fast_form
from panet.model.build import build_model
from panet.model.detections import DetectionRule
from panet.model.fast import compile_stages, fuse_graph, optimise, pick_dtype
from panet.model.fold import trace
from panet.model.fused import FusedConv, FusedLinear
from panet.structures import ImageBatch

CPU = torch.device("cpu")
VARIANTS = {
    "as it is": {},
    "the heavier box head": {"box_head": BoxHeadConfig(conv_channels=16, fc_channels=32)},
    "no norm, no mask branch": {"norm": "none", "mask_head": None},
    "batch norm": {"norm": "batch", "backbone": BackboneConfig(name="test_efficientnet", norm="batch")},
    "the three ideas off": {
        "neck": NeckConfig(channels=16, bottom_up=False),
        "pooling": PoolingConfig(levels="assigned"),
        "mask_head": MaskHeadConfig(channels=16, fc_path=False),
    },
    "paddings by the input's size": {"backbone": BackboneConfig(name="tf_efficientnet_lite0")},
    "bottlenecks": {"backbone": BackboneConfig(name="resnet26")},
    "a backbone that cannot be traced": {"backbone": BackboneConfig(name="swin_tiny_patch4_window7_224")},
}


def plain_model(config):
    """A network in eval mode whose batch norms do something and which always finds something."""
    model = build_model(config, seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.8, 1.2, generator=generator)
    model.detection_rule = DetectionRule(score_threshold=0.0, max_detections=20)
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_detections_are_those_of_the_plain_form(tiny_config, make_batch, variant):
    model = plain_model(tiny_config(**VARIANTS[variant]))
    images = make_batch().images
    with torch.inference_mode():
        for plain, found in zip(model(images), optimise(model)(images), strict=True):
            assert len(plain) == 20
            assert torch.equal(found.labels, plain.labels)
            torch.testing.assert_close(found.boxes, plain.boxes, rtol=0, atol=1e-3)
            torch.testing.assert_close(found.scores, plain.scores, rtol=0, atol=1e-5)
            if plain.mask_grids is not None:
                torch.testing.assert_close(found.mask_grids, plain.mask_grids, rtol=0, atol=1e-4)


def test_without_onednn_detections_are_the_same_too(tiny_config, make_batch, monkeypatch):
    monkeypatch.setattr(fast_form, "can_fuse", lambda device: False)
    model = plain_model(tiny_config())
    images = make_batch().images
    fast = optimise(model)
    assert not any(isinstance(layer, FusedConv | FusedLinear) for layer in fast.modules())
    with torch.inference_mode():
        for plain, found in zip(model(images), fast(images), strict=True):
            assert torch.equal(found.labels, plain.labels)
            torch.testing.assert_close(found.boxes, plain.boxes, rtol=0, atol=1e-3)


def test_the_plain_form_is_left_as_it_was(tiny_config):
    model = build_model(tiny_config())  # in training mode
    before = copy.deepcopy(model.state_dict())
    fast = optimise(model, torch.bfloat16)
    assert model.training
    assert not any(module.training for module in fast.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [parameter.dtype for parameter in model.parameters()] == [torch.float32] * len(list(model.parameters()))


def test_bf16_features_are_near_and_what_comes_after_them_is_fp32(tiny_config, make_batch):
    model = plain_model(tiny_config())
    images = make_batch().images
    fast = optimise(model, torch.bfloat16)
    with torch.inference_mode():
        expected, n = model.features(images.tensor), fast.features(images.tensor)
        (found, _) = fast(images)
    for k, feature in n.items():
        assert feature.dtype == torch.bfloat16
        assert (feature.float() - expected[k]).norm() < 0.05 * expected[k].norm()  # of 8 bits, through 30 layers
    assert {found.boxes.dtype, found.scores.dtype, found.mask_grids.dtype} == {torch.float32}


@pytest.mark.parametrize("norm", ["group", "none"])
@pytest.mark.parametrize(
    "pooling", [{}, {"aligned": True}, {"samples": 0}, {"levels": "assigned"}, {"levels": "assigned", "aligned": True}]
)
def test_bf16_does_not_round_where_a_box_is(tiny_config, pooling, norm):
    model = build_model(tiny_config(pooling=PoolingConfig(**pooling), norm=norm), seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    n = {k: torch.randn(1, 16, 1024 >> k, 1024 >> k, generator=generator).bfloat16() for k in (2, 3, 4, 5)}
    boxes = [torch.tensor([[805.3, 611.7, 838.9, 650.1], [901.3, 3.3, 917.0, 21.9]])]  # between bf16's 800, 804, 808
    fast = optimise(model, torch.bfloat16)
    with torch.inference_mode():
        for plain, head in ((model.box_head, fast.box_head), (model.mask_head, fast.mask_head)):
            expected = plain.pooling({k: feature.float() for k, feature in n.items()}, boxes)
            found = head.pooling(n, boxes).float()
            assert (found - expected).norm() < 0.02 * expected.norm()


def test_every_map_lies_channels_last(tiny_config, make_batch):
    model = plain_model(tiny_config())
    for form in (model, optimise(model)):
        with torch.inference_mode():
            n = form.features(make_batch().images.tensor.contiguous(memory_format=torch.channels_last))
        assert all(feature.is_contiguous(memory_format=torch.channels_last) for feature in n.values())


class Residual(nn.Module):
    """Sums of every kind: of two convs, with what is read elsewhere, of a conv with itself, with a number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(4))
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.relu(self.a(x) + self.b(x)))
        y = self.c(x)
        x = self.relu(x + y)
        z = self.d(x)
        return [x, y, self.relu(z + z) + 1, self.relu(self.a(x) + 1)]


def test_a_graph_of_sums_computes_the_same_when_fused():
    torch.manual_seed(0)
    body = Residual().eval().requires_grad_(False)
    x = torch.randn(1, 4, 6, 7)
    expected = body(x)
    traced = trace(body)
    fuse_graph(traced, torch.float32)
    for got, wanted in zip(traced(x), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(layer, nn.Conv2d) for layer in traced.modules())


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bf16_where_the_hardware_has_it(monkeypatch, has_bf16, dtype):
    monkeypatch.setitem(fast_form._HAS_BF16, "cpu", lambda: has_bf16)
    assert pick_dtype("auto", CPU) == dtype
    assert pick_dtype("fp32", CPU) == torch.float32
    assert pick_dtype("bf16", CPU) == torch.bfloat16
    assert pick_dtype("auto", torch.device("mps")) == torch.float32


def test_a_precision_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"'bf61' is unknown \(did you mean 'bf16'\?\): choose"):
        pick_dtype("bf61", CPU)


def test_a_compiled_form_finds_the_same_at_any_size(tiny_config, make_batch, monkeypatch):
    compile_module = nn.Module.compile
    # Without the minutes of C++ that the default backend takes: what is tested is what is traced.
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compile_module(self, backend="eager", **options))
    model = optimise(plain_model(tiny_config(norm="none")))
    batches = [make_batch().images, ImageBatch(torch.zeros(1, 3, 96, 64), ((96, 64),), ((96, 64),))]
    with torch.inference_mode():
        expected = [model(images) for images in batches]
        assert compile_stages(model, 64) > 0
        for images, found in zip(batches, expected, strict=True):
            for one, other in zip(model(images), found, strict=True):
                assert torch.equal(one.labels, other.labels)
                torch.testing.assert_close(one.boxes, other.boxes, rtol=0, atol=1e-3)


def test_what_cannot_be_compiled_is_told(tiny_config, monkeypatch):
    def fail(self, *args, **kwargs):
        raise RuntimeError("no compiler\nmore")

    model = plain_model(tiny_config())
    monkeypatch.setattr(type(model), "__call__", fail)
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: None)
    with pytest.raises(ConfigError, match=r"--compile: torch\.compile fails here: no compiler; it needs"):
        compile_stages(model, 64)
