"""Several views of one picture: united by hand values, and laws of a whole small network."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from panet.config import DetectionConfig
from panet.model.box_head import BoxOutput
from panet.model.build import build_model
from panet.model.detections import DetectionRule, to_image
from panet.model.views import detect_views
from panet.structures import Detections, ImageBatch, Views

ORIGINAL = (20, 40)  # image px of what `Scripted` sees


class Scripted:
    """Proposes given boxes in each view, and takes them for objects of class 1; a view's features are its number."""

    def __init__(self, *found: tuple[list[list[float]], list[float]], masks: bool = True, **rule: Any) -> None:
        self.found = found
        self.masks = masks
        self.detection_rule = DetectionRule(**rule)
        self.asked: list[Tensor] = []

    def features(self, images: Tensor) -> Any:
        return int(images.flatten()[0])

    def proposals(self, n: Any, images: ImageBatch) -> list[Tensor]:
        return [torch.tensor(self.found[n][0]).reshape(-1, 4)]

    def box_head(self, n: Any, proposals: list[Tensor]) -> BoxOutput:
        scores = torch.tensor(self.found[n][1])
        return BoxOutput(torch.stack((1 - scores, scores), dim=1).log(), torch.zeros(len(scores), 2, 4))

    def frame(self, images: ImageBatch) -> Any:
        return images.sizes, None

    def with_masks(self, n: Any, detections: list[Detections]) -> list[Detections]:
        """Give the left half of each grid the probability (n + 1) / 10, the right half none."""
        if not self.masks:
            return detections
        self.asked += [each.boxes for each in detections]
        grid = torch.tensor([[(n + 1) / 10, 0.0]] * 2)
        return [replace(each, mask_grids=grid.expand(len(each), 2, 2)) for each in detections]


def views(*factors: float, mirrored: tuple[bool, ...]) -> Views:
    images = []
    for number, factor in enumerate(factors):
        size = int(ORIGINAL[0] * factor), int(ORIGINAL[1] * factor)
        images.append(ImageBatch(torch.full((1, 3, 128, 128), float(number)), (size,), (ORIGINAL,)))
    return Views(tuple(images), mirrored)


def detect(model: Any, seen: Views) -> Detections:
    return detect_views(model, seen)


def test_nothing_in_any_view_gives_shaped_empties() -> None:
    found = detect(Scripted(([], []), ([], [])), views(1, 2, mirrored=(False, True)))
    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))
    assert found.mask_grids is not None
    assert found.mask_grids.shape == (0, 2, 2)


def test_what_each_view_finds_is_united_in_px_of_the_picture() -> None:
    # Image px 10..20 x 0..10 and, by the second view at twice the size and mirrored, 30..40 x 10..20.
    model = Scripted(([[10, 0, 20, 10]], [0.6]), ([[0, 20, 20, 40]], [0.9]))
    found = detect(model, views(1, 2, mirrored=(False, True)))
    assert found.boxes.tolist() == [[30, 10, 40, 20], [10, 0, 20, 10]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    assert found.labels.tolist() == [1, 1]


def test_an_object_found_in_two_views_is_one_object() -> None:
    model = Scripted(([[10, 0, 20, 10]], [0.6]), ([[40, 0, 60, 20]], [0.9]))
    assert detect(model, views(1, 2, mirrored=(False, True))).boxes.tolist() == [[10, 0, 20, 10]]


def test_boxes_of_all_views_have_a_vote_and_the_score_stays() -> None:
    model = Scripted(([[10, 0, 20, 10]], [0.3]), ([[20, 0, 44, 20]], [0.9]), box_voting=0.8)
    found = detect(model, views(1, 2, mirrored=(False, False)))
    torch.testing.assert_close(found.boxes, torch.tensor([[10, 0, 21.5, 10]]))  # (20 * 1 + 22 * 3) / 4
    assert found.scores.tolist() == pytest.approx([0.9])


def test_soft_nms_sees_the_union() -> None:
    model = Scripted(([[10, 0, 20, 10]], [0.6]), ([[20, 0, 32, 20]], [0.9]), soft_nms="linear")
    found = detect(model, views(1, 2, mirrored=(False, False)))
    assert found.scores.tolist() == pytest.approx([0.9, 0.6 * (1 - 6 / 10)])
    assert len(detect(Scripted(*model.found), views(1, 2, mirrored=(False, False)))) == 1


def test_each_view_is_asked_for_a_mask_in_its_own_frame_and_their_mean_is_taken() -> None:
    model = Scripted(([[10, 0, 20, 10]], [0.6]), ([], []), ([], []))
    found = detect(model, views(1, 2, 3, mirrored=(False, True, False)))
    assert [boxes.tolist() for boxes in model.asked] == [[[10, 0, 20, 10]], [[40, 0, 60, 20]], [[30, 0, 60, 30]]]
    # Left: 0.1 and 0.3 of three; right: 0.2 of the mirrored one.
    torch.testing.assert_close(found.mask_grids, torch.tensor([[[0.4 / 3, 0.2 / 3]] * 2]))


def test_without_a_mask_branch_there_are_no_grids() -> None:
    found = detect(Scripted(([[10, 0, 20, 10]], [0.6]), masks=False), views(1, mirrored=(False,)))
    assert found.mask_grids is None


@pytest.fixture(scope="module", params=["modern", "legacy"])
def network(request: pytest.FixtureRequest, tiny_config: Any) -> Any:
    """A network whose deltas are large enough for its detections to differ."""
    config = tiny_config(arithmetic=request.param, detection=DetectionConfig(max_detections=20))
    model = build_model(config).eval()
    with torch.no_grad():
        model.rpn.objectness.weight.mul_(100)
        model.rpn.deltas.weight.mul_(10)
        model.box_head.class_logits.weight.mul_(30)
        model.box_head.deltas.weight.mul_(300)
    return model


def seen_at(factor: float, pixels: Tensor, legacy: bool) -> ImageBatch:
    """A picture of 60 x 90 px with the given pixels; its size in the network is another."""
    size = round(60 * factor), round(90 * factor)
    padded = torch.zeros(1, 3, 64, 96)
    padded[..., : size[0], : size[1]] = pixels[..., : size[0], : size[1]]
    return ImageBatch(padded, (size,), ((60, 90),), (factor,) if legacy else None)


def noise(seed: int = 0) -> Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [1.0, 0.71])
@pytest.mark.parametrize("options", [{}, {"soft_nms": "gaussian"}, {"box_voting": 0.7}])
def test_one_view_gives_exactly_what_the_network_itself_gives(network: Any, factor: float, options: Any) -> None:
    images = seen_at(factor, noise(), network.legacy_frames)
    plain = network.detection_rule
    network.detection_rule = replace(plain, **options)
    with torch.inference_mode():
        (found,) = network(images)
        united = detect_views(network, Views((images,), (False,)))
    network.detection_rule = plain
    expected = to_image(found, images.sizes[0], (60, 90), images.factors[0] if images.factors else None)
    assert len(found) > 5
    for name in ("boxes", "scores", "labels", "mask_grids"):
        assert torch.equal(getattr(united, name), getattr(expected, name)), name
    assert united.inclusive == expected.inclusive == network.legacy_frames


@pytest.mark.parametrize("options", [{}, {"soft_nms": "linear", "box_voting": 0.8}])
def test_a_mirrored_picture_has_mirrored_detections(network: Any, options: Any) -> None:
    legacy = network.legacy_frames
    pixels = noise(1)[..., :60, :90]
    both = [seen_at(1.0, each, legacy) for each in (pixels, pixels.flip(-1))]
    plain = network.detection_rule
    network.detection_rule = replace(plain, **options)
    with torch.inference_mode():
        one = detect_views(network, Views(tuple(both), (False, True)))
        other = detect_views(network, Views(tuple(both[::-1]), (False, True)))
    network.detection_rule = plain
    assert len(one) > 5
    assert other.labels.tolist() == one.labels.tolist()
    torch.testing.assert_close(other.scores, one.scores, rtol=0, atol=1e-5)
    edge = 90 - int(legacy)
    x1, y1, x2, y2 = other.boxes.unbind(1)
    mirrored = torch.stack((edge - x2, y1, edge - x1, y2), dim=1)
    torch.testing.assert_close(mirrored, one.boxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(other.mask_grids.flip(-1), one.mask_grids, rtol=0, atol=1e-4)
