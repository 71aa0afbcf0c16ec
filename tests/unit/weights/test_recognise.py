"""The source of a state dict is told by its names, or asked for."""

import pytest

from panet.errors import CheckpointError
from panet.weights.recognise import SOURCES, recognise

NAMES = {
    "official": ["Conv_Body.conv_body.res1.conv1.weight", "RPN.FPN_RPN_conv.weight"],
    "torchvision": ["backbone.body.conv1.weight", "backbone.fpn.inner_blocks.0.0.bias", "roi_heads.box_head.fc6.bias"],
    "detectron2": [
        "backbone.bottom_up.stem.conv1.weight",
        "backbone.fpn_lateral2.bias",
        "proposal_generator.rpn_head.conv.bias",
    ],
    "mmdetection": ["backbone.layer1.0.bn1.bias", "neck.lateral_convs.0.conv.bias", "rpn_head.rpn_conv.bias"],
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_is_told_by_its_names(source: str) -> None:
    assert recognise(NAMES[source]) == recognise(NAMES[source], source) == source


@pytest.mark.parametrize(
    ("names", "told", "what"),
    [
        (["conv1.weight", "fc.bias"], None, "conv1.weight, fc.bias: not clearly"),
        (NAMES["official"] + NAMES["mmdetection"], None, "not clearly"),
        (NAMES["official"], "detectron2", "those of official"),
        (NAMES["official"], "detectron", "did you mean 'detectron2'?"),
    ],
)
def test_what_is_unclear_or_wrong_is_refused(names: list[str], told: str | None, what: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        recognise(names, told)
    assert what in str(caught.value)
