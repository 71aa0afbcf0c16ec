"""What the options of test-time augmentation mean together."""

import pytest

from panet.cli.main import run
from panet.cli.tta import build_tta
from panet.errors import ConfigError
from panet.structures import TTA

NOTHING = {"tta": False, "scales": None, "flip": None, "soft_nms": None, "box_voting": None}
OFF = {"scales": (1.0,), "flip": False, "box_voting": None}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"flip": False}, None),
        ({"tta": True}, TTA()),
        ({"tta": True, "flip": False, "scales": "1,2"}, TTA(scales=(1, 2), flip=False)),
        ({"tta": True, "soft_nms": "linear", "box_voting": 0.9}, TTA(soft_nms="linear", box_voting=0.9)),
        ({"flip": True}, TTA(**{**OFF, "flip": True})),
        ({"scales": "0.5, 1.5"}, TTA(**{**OFF, "scales": (0.5, 1.5)})),
        ({"soft_nms": "gaussian"}, TTA(**OFF, soft_nms="gaussian")),
        ({"box_voting": 0.8}, TTA(**{**OFF, "box_voting": 0.8})),
    ],
)
def test_the_options_alone_and_on_top_of_the_papers(options, expected):
    assert build_tta(**{**NOTHING, **options}) == expected


@pytest.mark.parametrize("scales", ["", "a", "1,,2", "1;2"])
def test_scales_that_are_no_numbers_are_refused(scales):
    with pytest.raises(ConfigError, match=r"--tta-scales '.*': expected numbers with commas between them"):
        build_tta(**{**NOTHING, "scales": scales})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tta-scales", "600"], "error: TTA scale 600.0: expected 0.1 to 10"),
        (["--soft-nms", "hard"], "'hard' is not one of 'linear', 'gaussian'"),
        (["--box-voting", "0"], "error: box voting 0.0: expected an IoU above 0"),
    ],
)
@pytest.mark.parametrize("command", [["eval", "bundled", "absent"], ["predict", "bundled", "absent.png"]])
def test_a_value_out_of_range_is_one_line_before_anything_is_read(command, options, message, capsys):
    assert run([*command, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
