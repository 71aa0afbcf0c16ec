"""Sampling: limits and order by hand; disjoint, repeatable, and no other generator's business."""

import pytest
import torch

from panet.ops.sampling import choose, sample


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_nothing_is_drawn_from_nothing():
    drawn = sample(torch.zeros(0, dtype=torch.int64), 8, 0.5, generator())
    assert drawn.positive.shape == drawn.negative.shape == (0,)
    assert drawn.positive.dtype == torch.int64


def test_all_candidates_are_kept_when_there_are_no_more_than_asked_for():
    candidates = torch.tensor([4, 7, 9])
    assert choose(candidates, 3, generator()).tolist() == [4, 7, 9]
    assert choose(candidates, 0, generator()).tolist() == []


@pytest.mark.parametrize(
    ("num_positive", "num_negative", "expected"),
    [
        (0, 0, (0, 0)),
        (10, 100, (4, 12)),  # positives fill their quarter
        (2, 100, (2, 14)),  # negatives fill up where positives are few
        (10, 3, (4, 3)),  # but positives do not fill up for negatives
        (10, 0, (4, 0)),
    ],
)
def test_positives_have_a_share_and_negatives_fill_up(num_positive, num_negative, expected):
    labels = torch.tensor([2] * num_positive + [0] * num_negative + [-1] * 20)
    drawn = sample(labels, 16, 0.25, generator())
    assert (len(drawn.positive), len(drawn.negative)) == expected


def test_ignored_ones_are_never_drawn_and_indices_ascend():
    labels = torch.tensor([-1, 0, 1] * 30)
    for seed in range(5):
        drawn = sample(labels, 20, 0.5, generator(seed))
        assert (labels[drawn.positive] == 1).all()
        assert (labels[drawn.negative] == 0).all()
        for part in drawn:
            assert part.tolist() == sorted(set(part.tolist()))


def test_a_seed_repeats_its_draw_and_another_seed_draws_otherwise():
    candidates = torch.arange(1000)
    first = choose(candidates, 10, generator(1))
    assert torch.equal(first, choose(candidates, 10, generator(1)))
    assert not torch.equal(first, choose(candidates, 10, generator(2)))


def test_every_candidate_has_the_same_chance():
    source, counts = generator(3), torch.zeros(10)
    for _ in range(2000):
        counts[choose(torch.arange(10), 3, source)] += 1
    # 600 expected, standard deviation sqrt(2000 * 0.3 * 0.7) = 20.5.
    assert (counts - 600).abs().max() < 5 * 20.5


def test_the_global_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    sample(torch.tensor([0, 1] * 100), 10, 0.5, generator())
    assert torch.equal(torch.get_rng_state(), before)
