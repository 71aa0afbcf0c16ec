"""Key lists of Detectron2 and mmdetection (their current code) are consumed whole, classes in our order."""

import pickle

import pytest
import torch

from panet.cli.main import run
from panet.weights.checkpoint import load_model
from panet.weights.coco import COCO

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnext101_32x8d": (3, 4, 23, 3)}
NORM = ("weight", "bias", "running_mean", "running_var")
CLASSES = 80


def conv(shapes, name, out, inputs, side, bias=True):
    shapes[f"{name}.weight"] = (out, inputs, side, side)
    if bias:
        shapes[f"{name}.bias"] = (out,)


def resnet(backbone, conv_name, norm_name, block_name, shortcut):
    """Shapes of a bottleneck ResNet; the names are formats of {stage}, {block} and {i}."""
    wide = backbone.startswith("resnext")
    shapes, inputs = {}, 64
    for stage, count in enumerate(BLOCKS[backbone]):
        width, out = (256 if wide else 64) << stage, 256 << stage
        for block in range(count):
            name = block_name.format(stage=stage + 1, res=stage + 2, block=block)
            sides = ((width, inputs, 1), (width, width // 32 if wide else width, 3), (out, width, 1))
            for i, (o, n, side) in enumerate(sides, 1):
                conv(shapes, f"{name}.{conv_name.format(i=i)}", o, n, side, bias=False)
                shapes |= {f"{name}.{norm_name.format(i=i)}.{leaf}": (o,) for leaf in NORM}
            if block == 0:
                conv(shapes, f"{name}.{shortcut[0]}", out, inputs, 1, bias=False)
                shapes |= {f"{name}.{shortcut[1]}.{leaf}": (out,) for leaf in NORM}
            inputs = out
    return shapes


def detectron2_shapes(backbone="resnet50", mask=True):
    body = "backbone.bottom_up"
    shapes = resnet(backbone, "conv{i}", "conv{i}.norm", body + ".res{res}.{block}", ("shortcut", "shortcut.norm"))
    conv(shapes, f"{body}.stem.conv1", 64, 3, 7, bias=False)
    shapes |= {f"{body}.stem.conv1.norm.{leaf}": (64,) for leaf in NORM}
    for k in (2, 3, 4, 5):
        conv(shapes, f"backbone.fpn_lateral{k}", 256, 64 << k, 1)
        conv(shapes, f"backbone.fpn_output{k}", 256, 256, 3)
    rpn = "proposal_generator.rpn_head"
    for name, out, side in (("conv", 256, 3), ("objectness_logits", 3, 1), ("anchor_deltas", 12, 1)):
        conv(shapes, f"{rpn}.{name}", out, 256, side)
    for name, out, inputs in (
        ("box_head.fc1", 1024, 12544),
        ("box_head.fc2", 1024, 1024),
        ("box_predictor.cls_score", CLASSES + 1, 1024),
        ("box_predictor.bbox_pred", CLASSES * 4, 1024),
    ):
        shapes |= {f"roi_heads.{name}.weight": (out, inputs), f"roi_heads.{name}.bias": (out,)}
    if mask:
        for i in (1, 2, 3, 4):
            conv(shapes, f"roi_heads.mask_head.mask_fcn{i}", 256, 256, 3)
        conv(shapes, "roi_heads.mask_head.deconv", 256, 256, 2)
        conv(shapes, "roi_heads.mask_head.predictor", CLASSES, 256, 1)
    return shapes


def mmdetection_shapes(mask=True, path=False):
    shapes = resnet("resnet50", "conv{i}", "bn{i}", "backbone.layer{stage}.{block}", ("downsample.0", "downsample.1"))
    for name in [name for name in shapes if name.endswith("running_var")]:
        shapes[name.replace("running_var", "num_batches_tracked")] = ()
    conv(shapes, "backbone.conv1", 64, 3, 7, bias=False)
    shapes |= {f"backbone.bn1.{leaf}": (64,) for leaf in NORM} | {"backbone.bn1.num_batches_tracked": ()}
    for i in range(4):
        conv(shapes, f"neck.lateral_convs.{i}.conv", 256, 256 << i, 1)
        conv(shapes, f"neck.fpn_convs.{i}.conv", 256, 256, 3)
    for i in range(3 if path else 0):
        conv(shapes, f"neck.downsample_convs.{i}.conv", 256, 256, 3)
        conv(shapes, f"neck.pafpn_convs.{i}.conv", 256, 256, 3)
    for name, out, side in (("rpn_conv", 256, 3), ("rpn_cls", 3, 1), ("rpn_reg", 12, 1)):
        conv(shapes, f"rpn_head.{name}", out, 256, side)
    for name, out, inputs in (
        ("shared_fcs.0", 1024, 12544),
        ("shared_fcs.1", 1024, 1024),
        ("fc_cls", CLASSES + 1, 1024),
        ("fc_reg", CLASSES * 4, 1024),
    ):
        shapes |= {f"roi_head.bbox_head.{name}.weight": (out, inputs), f"roi_head.bbox_head.{name}.bias": (out,)}
    if mask:
        for i in range(4):
            conv(shapes, f"roi_head.mask_head.convs.{i}.conv", 256, 256, 3)
        conv(shapes, "roi_head.mask_head.upsample", 256, 256, 2)
        conv(shapes, "roi_head.mask_head.conv_logits", CLASSES, 256, 1)
    return shapes


def made(shapes):
    """Zeros, but for biases and norms: their place is in them."""
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for place, tensor in enumerate(state.values()):
        if tensor.ndim == 1:
            tensor.copy_(place + torch.arange(len(tensor)) / 10000)
    return state


def check_classes(model, logits, deltas, masks):
    assert torch.equal(model.state["box_head.class_logits.bias"], torch.cat((logits[80:], logits[:80])))
    assert torch.equal(model.state["box_head.deltas.bias"], torch.cat((torch.zeros(4), deltas)))
    if masks is not None:
        assert torch.equal(model.state["mask_head.mask_logits.bias"], torch.cat((torch.zeros(1), masks)))
    assert model.label_map == COCO


@pytest.mark.parametrize(
    ("backbone", "mask"), [("resnet50", True), ("resnet50", False), ("resnet101", True), ("resnext101_32x8d", True)]
)
def test_a_checkpoint_of_detectron2_is_consumed_whole(tmp_path, backbone, mask):
    state = made(detectron2_shapes(backbone, mask))
    if backbone == "resnet50" and mask:
        assert len(state) == 307
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    arrays |= {"pixel_mean": torch.zeros(3, 1, 1).numpy()}
    path, out = tmp_path / "model_final.pkl", tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}))
    assert run(["import", str(path), "-o", str(out)]) == 0
    model = load_model(out)
    heads = "roi_heads.box_predictor"
    masks = state["roi_heads.mask_head.predictor.bias"] if mask else None
    check_classes(model, state[f"{heads}.cls_score.bias"], state[f"{heads}.bbox_pred.bias"], masks)
    bottom_up = "backbone.bottom_up"
    assert torch.equal(model.state["backbone.body.bn1.running_var"], state[f"{bottom_up}.stem.conv1.norm.running_var"])
    assert torch.equal(
        model.state["backbone.body.layer3.0.downsample.1.bias"], state[f"{bottom_up}.res4.0.shortcut.norm.bias"]
    )
    assert model.config.backbone.name == backbone
    assert model.config.backbone.stride_in_1x1 == (backbone != "resnext101_32x8d")
    assert model.config.pixels.channels == "bgr"
    assert (model.config.pooling.samples, model.config.pooling.aligned, model.config.rpn.round_anchors) == (
        0,
        True,
        False,
    )
    assert model.config.pixels.mean == (103.53, 116.28, 123.675)


@pytest.mark.parametrize(("kind", "norm"), [("bn", "batch"), ("gn", "group")])
def test_a_neck_of_mmdetection_may_have_a_norm_where_the_heads_have_none(tmp_path, kind, norm):
    state = made(mmdetection_shapes(mask=False, path=True))
    for name in [name for name in state if name.startswith("neck.") and name.endswith("conv.bias")]:
        layer = name.removesuffix("conv.bias")
        state[f"{layer}{kind}.weight"], state[f"{layer}{kind}.bias"] = state.pop(name), torch.zeros(256)
        if kind == "bn":
            state |= {f"{layer}bn.{leaf}": torch.ones(256) for leaf in ("running_mean", "running_var")}
            state[f"{layer}bn.num_batches_tracked"] = torch.tensor(1)
    file, out = tmp_path / "epoch_12.pth", tmp_path / "model.safetensors"
    torch.save({"state_dict": state}, file)
    assert run(["import", str(file), "-o", str(out)]) == 0
    model = load_model(out)
    assert (model.config.neck.norm, model.config.norm) == (norm, "none")
    assert torch.equal(model.state["bottom_up.fuse.4.norm.weight"], state[f"neck.pafpn_convs.1.{kind}.weight"])
    assert not model.state["bottom_up.fuse.4.conv.bias"].any()
    assert not any(".norm." in name for name in model.state if name.startswith(("box_head.", "mask_head.")))


@pytest.mark.parametrize(
    ("mask", "path", "style"), [(True, False, "pytorch"), (False, False, "caffe"), (False, True, "pytorch")]
)
def test_a_checkpoint_of_mmdetection_is_consumed_whole(tmp_path, mask, path, style):
    state = made(mmdetection_shapes(mask, path))
    file, out = tmp_path / "epoch_12.pth", tmp_path / "model.safetensors"
    torch.save({"meta": {"config": f"backbone=dict(style='{style}')"}, "state_dict": state}, file)
    assert run(["import", str(file), "-o", str(out)]) == 0
    model = load_model(out)
    heads = "roi_head.bbox_head"
    masks = state["roi_head.mask_head.conv_logits.bias"] if mask else None
    check_classes(model, state[f"{heads}.fc_cls.bias"], state[f"{heads}.fc_reg.bias"], masks)
    assert torch.equal(model.state["top_down.lateral.2.conv.bias"], state["neck.lateral_convs.0.conv.bias"])
    assert model.config.neck.bottom_up == path
    if path:
        assert torch.equal(model.state["bottom_up.down.3.conv.bias"], state["neck.downsample_convs.0.conv.bias"])
        assert torch.equal(model.state["bottom_up.fuse.5.conv.bias"], state["neck.pafpn_convs.2.conv.bias"])
        assert model.config.neck.chain_on_presum
        assert not model.config.neck.bottom_up_relu
    assert model.config.backbone.stride_in_1x1 == (style == "caffe")


def altered(tmp_path, shapes, change):
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    change(state)
    file = tmp_path / "altered.pth"
    torch.save({"model": state} if "backbone.fpn_lateral2.bias" in shapes else {"state_dict": state}, file)
    return file


def classes(state, logits, deltas, masks, count):
    """Let the box outputs speak of `count` classes, but not the masks."""
    state[f"{logits}.weight"], state[f"{logits}.bias"] = torch.zeros(count + 1, 1024), torch.zeros(count + 1)
    state[f"{deltas}.weight"], state[f"{deltas}.bias"] = torch.zeros(4 * count, 1024), torch.zeros(4 * count)
    assert f"{masks}.weight" in state


D2, MM = "roi_heads.box_predictor", "roi_head.bbox_head"
D2_MASKS, MM_MASKS = "roi_heads.mask_head.predictor", "roi_head.mask_head.conv_logits"


@pytest.mark.parametrize(
    ("shapes", "change", "what"),
    [
        (detectron2_shapes, lambda s: s.pop("backbone.fpn_output3.bias"), "1 missing, first backbone.fpn_output3.bias"),
        (
            detectron2_shapes,
            lambda s: s.update({f"{D2}.x.bias": torch.zeros(1)}),
            f"1 not understood, first {D2}.x.bias",
        ),
        (
            detectron2_shapes,
            lambda s: s.update({"backbone.fpn_lateral2.weight": torch.zeros(256, 128, 1, 1)}),
            "backbone.fpn_lateral2.weight: shape (256, 128, 1, 1) does not fit",
        ),
        (
            detectron2_shapes,
            lambda s: classes(s, f"{D2}.cls_score", f"{D2}.bbox_pred", D2_MASKS, 5),
            f"{D2_MASKS}.weight: shape (81, 256, 1, 1) does not fit",
        ),
        (mmdetection_shapes, lambda s: s.pop("rpn_head.rpn_cls.weight"), "1 missing, first rpn_head.rpn_cls.weight"),
        (
            mmdetection_shapes,
            lambda s: s.update({"neck.x.bias": torch.zeros(1)}),
            "1 not understood, first neck.x.bias",
        ),
        (
            mmdetection_shapes,
            lambda s: s.update({f"{MM}.shared_fcs.1.weight": torch.zeros(1024, 512)}),
            f"{MM}.shared_fcs.1.weight: shape (1024, 512) does not fit",
        ),
        (
            mmdetection_shapes,
            lambda s: classes(s, f"{MM}.fc_cls", f"{MM}.fc_reg", MM_MASKS, 5),
            f"{MM_MASKS}.weight: shape (81, 256, 1, 1) does not fit",
        ),
    ],
)
def test_an_altered_file_is_refused_and_the_name_given(tmp_path, capsys, shapes, change, what):
    file, out = altered(tmp_path, shapes(), change), tmp_path / "model.safetensors"
    assert run(["import", str(file), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert what in error
    assert error.count("\n") == 1
    assert not out.exists()
