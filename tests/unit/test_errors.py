"""The tree of errors: exit codes, the nearest name."""

import pytest

from panet import errors


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_every_error_is_a_panet_error_with_its_exit_code(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.PANetError)
    others = {"DivergedError": 3, "ResourceError": 4, "RankError": 4, "PeerError": 4}
    assert kind.exit_code == others.get(name, 2)
    error = kind("one line", 3) if kind is errors.PeerError else kind("one line")
    assert str(error) == "one line"
    assert error.exit_code == (3 if kind is errors.PeerError else kind.exit_code)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("learning_rat", " (did you mean 'learning_rate'?)"),
        ("momentun", " (did you mean 'momentum'?)"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_offered_if_there_is_one(name, expected):
    assert errors.nearest(name, ["learning_rate", "momentum"]) == expected


def test_without_names_there_is_none_near():
    assert errors.nearest("learning_rate", iter(())) == ""
