"""One process among several: what it takes, whose word counts, and what changes nothing when it is alone."""

import pytest
import torch
from torch import nn

from panet.errors import ConfigError, DivergedError
from panet.train import distributed
from panet.train.distributed import ALONE, Ranks, gradients_shared, joined


def test_a_process_that_was_not_started_with_others_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # some clusters set it for everything
    monkeypatch.delenv("RANK", raising=False)
    with joined() as ranks:
        assert ranks is ALONE
    assert not torch.distributed.is_initialized()


def test_alone_everything_is_as_without_ranks() -> None:
    objective = nn.Linear(1, 1)
    assert ALONE.wrap(objective) is objective
    assert ALONE.share(lambda: {"a": (1, 2)}) == {"a": (1, 2)}
    assert ALONE.collect([3, 4]) == [3, 4]
    assert ALONE.agree({"class": 0.5}, None, 15) == ({"class": 0.5}, 15)
    assert ALONE.place(torch.device("cpu")) == torch.device("cpu")
    ALONE.wait()
    with gradients_shared(objective, wanted=False), ALONE.together():
        pass


def test_alone_an_error_is_raised_as_it_is() -> None:
    problem = DivergedError("step 7")
    with pytest.raises(DivergedError, match="step 7"):
        ALONE.agree({}, problem, None)
    with pytest.raises(DivergedError, match="step 7"), ALONE.together():
        raise problem


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Ranks(5, 6, local_rank=1).place(torch.device("cuda")) == torch.device("cuda", 1)
    assert chosen == [1]
    with pytest.raises(ConfigError, match="process 3 of this machine has no GPU: there are 2"):
        Ranks(2, 3, local_rank=2).place(torch.device("cuda"))
    with pytest.raises(ConfigError, match="cuda:1: each process has a GPU of its own: use cuda"):
        Ranks(0, 2).place(torch.device("cuda", 1))


def test_statistics_are_averaged_where_each_process_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(1), nn.SyncBatchNorm(2), nn.BatchNorm2d(2))
    model[3].eval()
    for norm in model:
        norm.running_mean.fill_(4.0)
    # The other process has learnt 2 less everywhere.
    monkeypatch.setattr(distributed.distributed, "all_reduce", lambda flat: flat.mul_(2).sub_(2))
    Ranks(0, 2).average_statistics(model)
    assert [norm.running_mean.unique().tolist() for norm in model] == [[3.0], [3.0], [4.0], [4.0]]
    assert model[0].running_var.tolist() == [0.0, 0.0]


def test_the_first_rank_that_failed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    own = DivergedError("mine")
    for codes, expected in (([0, 3, 2], "mine"), ([2, 3, 0], "^$")):
        monkeypatch.setattr(Ranks, "_gather", lambda _self, _number, codes=codes: codes)
        with pytest.raises(Exception, match=expected) as caught, Ranks(1, 3).together():
            raise own
        assert caught.value.exit_code == max(codes[:2] if expected == "mine" else codes[:1])
    monkeypatch.setattr(Ranks, "_gather", lambda *_: [0, 0, 143])
    with pytest.raises(SystemExit) as stopped, Ranks(1, 3).together():
        pass
    assert stopped.value.code == 143
    monkeypatch.setattr(Ranks, "_gather", lambda *_: [130, 0, 0])
    with pytest.raises(KeyboardInterrupt), Ranks(1, 3).together():
        pass
