"""Two machines: a launcher each, on this one or in network namespaces of their own."""

import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from panet.data.synthetic import write_shapes
from ranks.launch import alone, lines, places, train

STEPS = ("--steps", 5, "--set", "train.evaluate_every=1000")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    """Give two network namespaces with a cable between them: "a" 10.77.0.1 on va, "b" 10.77.0.2 on vb."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and ip")
    names = [f"panet-{end}-{uuid.uuid4().hex[:6]}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "va", "netns", names[0], "type", "veth", "peer", "name", "vb", "netns", names[1])
        for name, link, number in zip(names, ("va", "vb"), (1, 2), strict=True):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", link)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", link, "up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    else:
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def run_nodes(
    arguments: list[object], folder: Path, port: int, address: str, links: list[str], names: list[str]
) -> None:
    """Start a launcher of one process on each node, and wait for both."""
    running = []
    for node, link in enumerate(links):
        place = ["--nnodes", 2, "--node_rank", node, "--nproc_per_node", 1]
        place += ["--master_addr", address, "--master_port", port]
        words = [sys.executable, "-m", "torch.distributed.run", *place, "-m", "panet", *arguments]
        inside = ["ip", "netns", "exec", names[node]] if names else []
        # A namespace has no name server: do not wait for one.
        variables = places(GLOO_SOCKET_IFNAME=link, RES_OPTIONS="timeout:1 attempts:1")
        command = [*inside, *map(str, words)]
        running.append(subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors


def check_equal(folder: Path, data: Path) -> None:
    one = alone(*train(data, *STEPS, "--name", "one", "--set", "train.accumulate=2"), folder=folder)
    assert one.returncode == 0, one.stderr
    steps = [[line for line in lines(folder / "runs" / name) if "losses" in line] for name in ("one", "nodes")]
    assert len(steps[0]) == len(steps[1]) == 5
    for first, second in zip(*steps, strict=True):
        assert second["losses"] == pytest.approx(first["losses"], abs=1e-5)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=7, num_val=1, size=64, seed=0)
    return folder


def test_two_local_launchers_take_the_steps_of_one_process(shapes: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    run_nodes(train(shapes, *STEPS, "--name", "nodes"), tmp_path, port, "127.0.0.1", ["lo", "lo"], [])
    check_equal(tmp_path, shapes)


@pytest.mark.slow
def test_two_network_namespaces_take_the_steps_of_one_process(
    shapes: Path, tmp_path: Path, namespaces: list[str]
) -> None:
    run_nodes(train(shapes, *STEPS, "--name", "nodes"), tmp_path, 29600, "10.77.0.1", ["va", "vb"], namespaces)
    check_equal(tmp_path, shapes)
