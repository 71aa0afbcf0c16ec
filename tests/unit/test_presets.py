"""The named models, by the settings that tell them apart."""

import pydantic
import pytest

from panet.errors import ConfigError
from panet.presets import PRESETS, preset


def test_an_unknown_name_is_refused_with_the_nearest_and_all_others():
    with pytest.raises(ConfigError, match=r"'panet_r5O' is unknown \(did you mean 'panet_r50'\?\); known: ") as caught:
        preset("panet_r5O")
    assert all(name in str(caught.value) for name in PRESETS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_complete_frozen_and_survives_a_round_trip(name):
    config = preset(name)
    assert type(config).model_validate_json(config.model_dump_json(), strict=False) == config
    with pytest.raises(pydantic.ValidationError):
        config.model.num_classes = 3


def ideas(config):
    """Whether the bottom-up path, adaptive pooling, the heavier head and the fully connected path are on."""
    model = config.model
    return (
        model.neck.bottom_up,
        model.pooling.levels == "all",
        model.box_head.kind == "4conv1fc",
        model.mask_head.fc_path if model.mask_head else None,
    )


def test_presets_differ_in_the_papers_ideas():
    assert {name: ideas(preset(name)) for name in PRESETS} == {
        "panet_r50": (True, True, True, True),
        "panet_r50_det": (True, True, True, None),
        "panet_r50_det_2fc": (True, True, False, None),
        "mask_rcnn_r50": (False, False, False, False),
        "panet_lite": (True, True, False, True),
    }


def test_the_released_model_has_the_released_settings():
    model = preset("panet_r50").model
    assert (model.norm, model.norm_groups, model.num_classes) == ("group", 32, 80)
    assert (model.neck.channels, model.box_head.conv_channels, model.box_head.fc_channels) == (256, 256, 1024)
    assert (model.pooling.box_size, model.pooling.mask_size, model.pooling.samples) == (7, 14, 2)
    assert model.pooling.fusion == "max"
