"""A NaN in a loss of step 7: nobody takes the step, the report names it, and one command replays it."""

import json
import math
from functools import partial
from pathlib import Path

from safetensors import safe_open

from faults import diverging_patches
from faults.harness import Ended, Fault, landed, resuming, run, run_folder, same_as_whole, training
from faults.ranks import same, together, whole

STEP = 7


def alone(seed: int, folder: Path) -> str:
    """Plant it in a run of one process; replay, with it and without; go on without it."""
    planted = partial(diverging_patches.plant, seed=seed, step=STEP, rank=0)
    ended = run(training(seed, folder), folder, patches=[planted])
    ended.expect(3)
    told = _look(ended, folder, rank=0)
    told += _replay(folder, planted)
    run(resuming(folder), folder).expect(0)
    return f"exit 3, {told}; resumed without it: {same_as_whole(seed, folder)}"


def on_one_rank(seed: int, folder: Path) -> str:
    """Plant it on the second of two processes."""
    planted = partial(diverging_patches.plant, seed=seed, step=STEP, rank=1)
    ended = together(training(seed, folder), folder, planted)
    assert ended.code == 1, ended  # torchrun's own
    assert "exitcode  : 3 " in ended.err, ended.err
    told = _look(ended, folder, rank=1)
    told += _replay(folder, planted)
    together(resuming(folder), folder).expect(0)
    return f"both stop, exit 3, {told}; resumed without it: {same(folder, whole(seed, folder))}"


def once_on_one_rank(seed: int, folder: Path) -> str:
    """Plant it on the second of two processes, as a flipped bit would: it is gone when it is looked for."""
    planted = partial(diverging_patches.plant, seed=seed, step=STEP, rank=1)
    lasting = together(training(seed, folder, name="lasting"), folder, planted)
    landed("exitcode  : 3 " in lasting.err, lasting)
    ended = together(training(seed, folder), folder, partial(planted, times=1))
    assert "exitcode  : 3 " in ended.err, ended.err
    assert "not so when it was repeated" in ended.error, ended.error
    reports = [json.loads((run_folder(folder, name) / "divergence.json").read_text()) for name in ("lasting", "run")]
    assert [report["rank"] for report in reports] == [1, 1], reports
    names = [report["batches"][0]["file_names"] for report in reports]
    assert names[0] == names[1], names
    together(resuming(folder), folder).expect(0)
    return f"both stop, exit 3, names {', '.join(names[1])}; resumed: {same(folder, whole(seed, folder))}"


def _look(ended: Ended, folder: Path, rank: int) -> str:
    """See what it left: the report, its pictures, the weights of the step before, no line of the step."""
    place = run_folder(folder)
    landed((place / "divergence.json").exists(), ended)
    report = json.loads((place / "divergence.json").read_text())
    assert (report["step"], report["kept_step"], report["rank"]) == (STEP, STEP - 1, rank), report
    assert (report["first"]["kind"], report["first"]["name"]) == ("loss", "mask"), report
    [batch] = report["batches"]
    assert batch["losses"]["mask"] == "NaN", batch
    assert all(math.isfinite(loss) for name, loss in batch["losses"].items() if name != "mask"), batch
    assert batch["file_names"], batch
    assert all(name in ended.error for name in batch["file_names"]), ended.error
    steps = [json.loads(line)["step"] for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == STEP - 1, steps
    with safe_open(place / "weights" / "last.safetensors", framework="np") as file:
        assert f'"step":"{STEP - 1}"' in "".join(file.metadata().values()), file.metadata()
    return f"names {', '.join(batch['file_names'])}, weights of step {STEP - 1}"


def _replay(folder: Path, planted: partial[object]) -> str:
    """Replay it as the report says: it is reproduced while it is planted, and only then."""
    report = json.loads((run_folder(folder) / "divergence.json").read_text())
    words = report["command"].split()[1:]
    again = run(words, folder, patches=[planted])
    again.expect(3)
    assert "replayed: loss mask (forward) (the same, cpu)" in again.out, again.out
    without = run(words, folder)
    without.expect(0)
    assert f"not reproduced: here, step {STEP} has finite losses and gradients" in without.out, without.out
    return "; replay reproduces it, exit 3"


FAULTS = [
    Fault("K16", f"a loss is NaN in step {STEP}", alone),
    Fault("K16", f"a loss is NaN in step {STEP} on one of two processes", on_one_rank),
    Fault("K16", f"a loss is NaN once in step {STEP} on one of two processes", once_on_one_rank),
]
