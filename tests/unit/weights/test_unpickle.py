"""The restricted unpickler: arrays and built-in containers, and nothing else."""

import pickle

import numpy as np
import pytest

from panet.errors import CheckpointError
from panet.weights.unpickle import read_arrays

REFUSED = [
    (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
    (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
    (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
    (pickle.dumps(np.array([object()], dtype=object)), "array of"),
    (pickle.dumps(np.zeros(2, [("x", "f4")])), "array of"),
    # A shape of 2**40 to begin with: memory without content.
    (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1099511627776L\ntS'b'\ntR.", "begins with a shape"),
    (b"\x80\x02]r\xfe\xff\xff\x7f.", "memo index"),
    (b"c_codecs\nencode\n(S'x'\nS'zip'\ntR.", "text in"),
    (b"\x80\x02}", ""),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_is_not_an_array_is_refused_in_a_line(content: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_arrays(content, "x.pkl")
    assert str(caught.value).startswith("x.pkl: not read: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("array", [np.zeros((0, 4), "f4"), np.arange(6, dtype=">i8").reshape(2, 3).T, np.array(1.5)])
def test_an_array_comes_back_as_it_was(array: np.ndarray, protocol: int) -> None:
    got = read_arrays(pickle.dumps({"model": {"x": array}, "n": [1, "a"]}, protocol), "x.pkl")
    assert got["n"] == [1, "a"]
    assert got["model"]["x"].dtype == array.dtype
    np.testing.assert_array_equal(got["model"]["x"], array)
