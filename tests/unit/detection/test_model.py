"""Losses in train mode, predictions in eval mode, and all that an nn.Module does."""

import copy
import io

import pytest
import torch

import panet
from panet.config import DetectionConfig
from panet.errors import DataError
from panet.weights.checkpoint import load_model

LOSSES = ["loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"]


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(detection=DetectionConfig(score_threshold=0.0, max_detections=5))


def values(losses):
    return {name: loss.item() for name, loss in losses.items()}


def test_training_gives_torchvisions_losses_with_gradients(make_model, images, targets):
    model = make_model()
    losses = model(images, targets)
    assert list(losses) == LOSSES
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_pictures_of_nothing_train_as_negatives(make_model, images, targets):
    losses = make_model()(images[1:], targets[1:])
    assert losses["loss_classifier"] > 0
    assert losses["loss_objectness"] > 0
    assert losses["loss_mask"] == losses["loss_box_reg"] == losses["loss_rpn_box_reg"] == 0


def test_crowds_are_never_positives(make_model, images, targets):
    targets[0]["iscrowd"] = torch.ones(2, dtype=torch.int64)
    losses = make_model()(images, targets)
    assert losses["loss_mask"] == losses["loss_box_reg"] == losses["loss_rpn_box_reg"] == 0


def test_without_a_mask_branch_targets_need_no_masks(make_model, images, targets):
    model = make_model(mask_head=None)
    for target in targets:
        del target["masks"]
    assert list(model(images, targets)) == [name for name in LOSSES if name != "loss_mask"]
    assert all(list(found) == ["boxes", "labels", "scores"] for found in model.eval()(images))


def test_the_draws_come_from_the_models_generator_alone(make_model, images, targets):
    before = torch.get_rng_state()
    sides = (32, 48, 64)
    first = values(make_model(seed=5, short_sides=sides)(images, targets))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)  # another state of the global generator
    assert values(make_model(seed=5, short_sides=sides)(images, targets)) == first


def test_the_size_of_each_picture_is_drawn_in_training(make_model, images, targets, monkeypatch):
    model = make_model(short_sides=(32, 48, 64))
    seen = []
    forward = model.objective.forward
    monkeypatch.setattr(
        model.objective, "forward", lambda batch, g: seen.extend(batch.images.sizes) or forward(batch, g)
    )
    for _ in range(6):
        model(images, targets)
    assert {min(size) for size in seen} == {32, 48, 64}
    assert any(min(a) != min(b) for a, b in zip(seen[::2], seen[1::2], strict=True))


def test_arguments_are_not_written_to(make_model, images, targets):
    before = copy.deepcopy((images, targets))
    make_model()(images, targets)
    assert all(map(torch.equal, images, before[0]))
    for target, copied in zip(targets, before[1], strict=True):
        assert list(target) == list(copied)
        assert all(torch.equal(target[key], copied[key]) for key in target)


def test_eval_mode_gives_torchvisions_dicts(model, images):
    with torch.no_grad():
        found = model.eval()(images)
    assert len(found) == 2
    for image, each in zip(images, found, strict=True):
        height, width = image.shape[1:]
        count = len(each["boxes"])
        assert 0 < count <= 5
        assert list(each) == ["boxes", "labels", "scores", "masks"]
        assert each["boxes"].shape == (count, 4)
        assert (each["boxes"] >= 0).all()
        assert (each["boxes"] <= torch.tensor([width, height] * 2)).all()
        assert each["labels"].dtype == torch.int64
        assert ((each["labels"] >= 1) & (each["labels"] <= 3)).all()
        assert each["scores"].tolist() == sorted(each["scores"].tolist(), reverse=True)
        assert each["masks"].shape == (count, 1, height, width)
        assert each["masks"].dtype == torch.float32
        assert ((each["masks"] >= 0) & (each["masks"] <= 1)).all()


def test_nothing_found_gives_shaped_empties(make_model, images):
    model = make_model(detection=DetectionConfig(score_threshold=1.0)).eval()
    shapes = [{key: tuple(value.shape) for key, value in found.items()} for found in model(images)]
    assert shapes[0] == {"boxes": (0, 4), "labels": (0,), "scores": (0,), "masks": (0, 1, 60, 90)}
    assert shapes[1]["masks"] == (0, 1, 70, 50)


def test_eval_mode_does_not_read_targets(model, images):
    with torch.no_grad():
        assert len(model.eval()(images, [{}, {}])) == 2


def test_training_without_targets_is_refused(make_model, images):
    with pytest.raises(DataError, match="targets: none"):
        make_model()(images)


def test_labels_are_judged_by_the_models_classes(make_model, images, targets):
    targets[0]["labels"] = torch.tensor([1, 4])
    with pytest.raises(DataError, match=r"labels\[1\]: 4: expected 1..3"):
        make_model()(images, targets)


def test_channels_may_be_blue_green_red(make_model, tiny_config, images):
    pixels = tiny_config().pixels
    bgr = pixels.model_copy(update={"channels": "bgr", "mean": pixels.mean[::-1], "std": pixels.std[::-1]})
    got, expected = (make_model(pixels=each)._normalised(images[0]) for each in (bgr, pixels))
    assert torch.equal(got, expected.flip(0))


def test_pixels_are_normalised_as_torchvisions(make_model, images):
    mean, std = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    got = make_model()._normalised(images[0])
    torch.testing.assert_close(got, (images[0] - mean) / std, rtol=1e-6, atol=1e-6)


def test_a_state_dict_holds_the_weights_and_nothing_else(make_model, images):
    first, second = make_model().eval(), make_model().eval()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(0.01)
        stored = io.BytesIO()
        torch.save(first.state_dict(), stored)
        stored.seek(0)
        second.load_state_dict(torch.load(stored, weights_only=True))
        assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(first(images), second(images), strict=True))
    assert len(first.state_dict()) == len(first.model.state_dict())


def test_a_copy_goes_on_alike(make_model, images, targets):
    model = make_model()
    twin = copy.deepcopy(model)
    assert values(model(images, targets)) == values(twin(images, targets))
    assert twin.generator is not model.generator


def test_a_move_takes_all_that_is_needed(make_model):
    moved = make_model().to("meta")
    assert {tensor.device.type for tensor in (moved.mean, moved.std, *moved.parameters())} == {"meta"}
    with pytest.raises(DataError, match="on cpu, the model is on meta"):
        moved([torch.zeros(3, 5, 6)])


def test_a_saved_model_is_a_model_file(model, tmp_path, images):
    path = tmp_path / "model.safetensors"
    model.eval().save(path)
    assert load_model(path).label_map == model.label_map
    again = panet.detection_model(path)
    assert again.training
    assert again.sizes.train_sides == (64,)
    assert again.sizes.train_limit == 96
    with torch.no_grad():
        for got, expected in zip(again.eval()(images), model(images), strict=True):
            assert all(torch.equal(got[key], expected[key]) for key in expected)
    result = panet.load(path, device="cpu").predict((images[0].permute(1, 2, 0) * 255).byte().numpy())
    assert len(result) > 0
    assert set(result.names) <= {"a", "b", "c"}


def test_a_half_saved_model_takes_half_the_room(model, tmp_path):
    model.save(tmp_path / "whole.safetensors")
    model.save(tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
