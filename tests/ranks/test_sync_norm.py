"""Norms of two processes agree with those of one on the joined batch."""

from pathlib import Path

import pytest
import torch
from torch import nn

from panet.model.sync_norm import SyncBatchNorm, synchronise_norms
from ranks.launch import launch

NORMS = Path(__file__).with_name("norms.py")


@pytest.mark.parametrize(
    ("norm", "body", "heads"),
    [
        ("sync_batch", "test_efficientnet", "4conv1fc"),
        ("sync_batch", "test_resnet", "2fc"),
        ("group", "test_resnet", "2fc"),
    ],
)
def test_two_processes_agree_with_one_on_the_joined_batch(tmp_path: Path, norm: str, body: str, heads: str) -> None:
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, NORMS, norm, body, heads)
    done = launch(*command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    worst = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    assert worst.keys() == {"output", "gradient", "statistics"}
    assert max(worst.values()) < 1e-10, worst  # in float64


def test_one_process_has_a_plain_batch_norm() -> None:
    x = torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    plain, synchronised = nn.BatchNorm2d(8), SyncBatchNorm(8)
    for _ in range(2):
        assert torch.equal(plain(x), synchronised(x))
    assert torch.equal(plain.running_var, synchronised.running_var)
    assert torch.equal(plain.eval()(x), synchronised.eval()(x))


def test_norms_are_replaced_with_their_values_and_activations() -> None:
    from timm.layers import BatchNormAct2d

    body = nn.Sequential(nn.Conv2d(3, 8, 1), BatchNormAct2d(8), nn.BatchNorm2d(8))
    body[1].weight.data.uniform_(generator=torch.Generator().manual_seed(0))
    body.eval()
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    before, names = body(x), list(body.state_dict())
    synchronise_norms(body)
    assert [type(module) for module in body] == [nn.Conv2d, SyncBatchNorm, SyncBatchNorm]
    body.eval()
    assert torch.equal(body(x), before)
    assert list(body.state_dict()) == names
