"""Faults of runs of two processes on gloo, started by torchrun: one ends, fails, sees nothing, or has less to do."""

import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from faults import rank_patches
from faults.harness import Ended, Fault, hash_weights, landed, metrics, resuming, run, run_folder, training
from panet.data.synthetic import write_shapes

_LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
_SECONDS_TO_STOP = 30.0

Around = Callable[[list[str]], list[str]]


def by_torchrun(words: list[str]) -> list[str]:
    """Give the words that start a command of this Python in two processes; torchrun takes a first "--" for its own."""
    program = ["-m", "panet", *words[4:]] if words[3] == "--" else words[1:]
    return [words[0], *_LAUNCHER, *program]


def together(arguments: list[str], folder: Path, *patches: partial[object], around: Around = by_torchrun) -> Ended:
    """Run a command of two processes, and wait for its end."""
    return run(arguments, folder, seconds=240, patches=patches, around=around)


def whole(seed: int, folder: Path) -> Path:
    """Make the run of two processes that nothing disturbed."""
    together(training(seed, folder, name="whole"), folder).expect(0)
    return run_folder(folder, "whole")


def same(folder: Path, other: Path) -> str:
    """See that the run ended with the files of another."""
    ours, theirs = (hash_weights(place / "weights" / "last.safetensors") for place in (run_folder(folder), other))
    assert ours == theirs, "last weights differ from the uninterrupted run's"
    ours, theirs = ((place / "metrics.jsonl").read_bytes() for place in (run_folder(folder), other))
    assert ours == theirs, "metrics.jsonl differs from the uninterrupted run's"
    return "weights and metrics as uninterrupted"


def killed(seed: int, folder: Path) -> str:
    """Kill rank 1 in step 8; resume."""
    ended = together(training(seed, folder), folder, partial(rank_patches.kill, rank=1, step=8))
    landed("Signal 9 (SIGKILL) received by PID" in ended.err, ended)
    assert ended.code == 1, ended
    seconds = _seconds_after(folder / "killed")
    assert seconds < _SECONDS_TO_STOP, f"the other stopped after {seconds:.0f} s"
    together(resuming(folder), folder).expect(0)
    return f"all ended {seconds:.1f} s later, exit 1; resumed: {same(folder, whole(seed, folder))}"


def _seconds_after(mark: Path) -> float:
    """Give the time between the making of a file and the last change of the output beside it."""
    last = max(path.stat().st_mtime for path in mark.parent.glob("*.err"))
    return last - mark.stat().st_mtime


def raised(seed: int, folder: Path) -> str:
    """Let rank 1 raise in step 8."""
    ended = together(training(seed, folder), folder, partial(rank_patches.fail, rank=1, step=8))
    landed("planted" in ended.err, ended)
    assert ended.code == 1, ended
    assert ended.error.startswith("rank 1: ValueError: planted: "), ended.error
    assert "Connection closed" not in ended.err, ended.err
    last = [line for line in ended.err.splitlines() if line.strip()][-2]
    assert last.strip().startswith("traceback : rank 1: ValueError: planted: "), ended.err[-2000:]
    return f"said once: {ended.error.split('; the')[0]}; and again as torchrun's last words"


def one_sees_no_object(seed: int, folder: Path) -> str:
    """Take the objects from all pictures of rank 1's batches."""
    ended = together(training(seed, folder), folder, partial(rank_patches.blind, rank=1))
    ended.expect(0)
    notes = [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    landed(notes[0]["objects"] > 0 == notes[1]["objects"], notes)
    assert all(note["gradients"] for note in notes), "a parameter had no gradient, or one that is not finite"
    assert notes[0]["weights"] == notes[1]["weights"], "the ranks ended with other weights"
    losses = [line["losses"] for line in metrics(run_folder(folder)) if "losses" in line]
    assert len(losses) == 12
    return f"12 steps, losses finite, every gradient there, both with weights {notes[0]['weights'][:8]}"


def uneven(seed: int, folder: Path) -> str:
    """Train on 23 pictures and evaluate 23, with two processes."""
    data = folder / "data"
    write_shapes(data, num_train=23, num_val=23, size=64, seed=seed)
    together(training(seed, folder, shapes_in=data), folder).expect(0)
    words = ["eval", str(run_folder(folder) / "weights" / "last.safetensors"), str(data), "--workers", "0"]
    one = run([*words, "--output", "one.json"], folder)
    one.expect(0)
    two = together([*words, "--output", "two.json"], folder)
    two.expect(0)
    landed("23 pictures, " in two.out, two)
    tables = ["\n".join(line for line in ended.out.splitlines() if line.startswith("│")) for ended in (one, two)]
    assert tables[0] == tables[1] != "", "the figures differ"
    assert (folder / "one.json").read_bytes() == (folder / "two.json").read_bytes(), "the results differ"
    found = [each["image_id"] for each in json.loads((folder / "two.json").read_text())]
    assert len(set(found)) <= 23
    return f"trained to the end; {len(found)} results of {len(set(found))} pictures, figures and bytes of one process"


def port_taken(seed: int, folder: Path) -> str:
    """Take the port where the processes are to meet, and start the first as a cluster does, without torchrun."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        place = {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        ended = run(training(seed, folder), folder, environment=place)
        landed("port" in ended.err, ended)
        ended.expect(4)
        assert f"127.0.0.1:{port}: the port is taken: " in ended.error, ended.error
        own = run(training(seed, folder), folder, seconds=240, around=partial(_at_port, port=port))
        assert own.code == 1
        assert f"port: {port}" in own.err
        assert "EADDRINUSE" in own.err
    return f"exit 4: {ended.error.replace(str(port), 'PORT')}; torchrun itself: exit 1, EADDRINUSE in its last line"


def _at_port(words: list[str], port: int) -> list[str]:
    return [words[0], "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port), *words[1:]]


FAULTS = [
    Fault("K11", "rank 1 of 2 killed in a step", killed),
    Fault("K12", "rank 1 of 2 raises in a step", raised),
    Fault("K13", "rank 1 of 2 sees only pictures without objects", one_sees_no_object),
    Fault("K14", "23 pictures on 2 ranks, to train and to evaluate", uneven),
    Fault("K18", "port of the meeting taken", port_taken),
]
