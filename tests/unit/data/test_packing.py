"""Texts in one buffer."""

import pickle

import pytest

from panet.data.packing import PackedTexts


def test_no_texts_are_none():
    assert len(PackedTexts([])) == 0
    assert PackedTexts([]).between(0, 0) == []


@pytest.mark.parametrize("texts", [["a", "", "bcd"], ["é😀", "\ud800", "\udcff.png"], [""]])
def test_texts_come_back_also_what_no_terminal_can_show(texts):
    packed = PackedTexts(texts)
    assert len(packed) == len(texts)
    assert packed.between(0, len(texts)) == texts
    assert [packed.between(i, i + 1) for i in range(len(texts))] == [[text] for text in texts]
    assert pickle.loads(pickle.dumps(packed)).between(0, len(texts)) == texts
