"""Faults that end a process, or halt one: kills, signals, and what must be the same afterwards."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

from faults.harness import (
    STEPS_PER_CHECK,
    Fault,
    checkpoints,
    landed,
    resuming,
    run,
    run_folder,
    same_as_whole,
    soon,
    start,
    training,
)
from faults.patches import (
    long_evaluation,
    long_rehearsal,
    long_save,
    long_step,
    signal_in_evaluation,
    signal_in_save,
    signal_in_step,
    slow_steps,
)

_NUM_KILLS = 3


def kill_at_random(seed: int, folder: Path, workers: int) -> str:
    """Kill a run and what goes on with it, three times, at moments drawn from the seed."""
    draws = random.Random(seed)
    steps, from_checkpoint, landings = [], 0, 0
    while landings < _NUM_KILLS:
        begun = bool(checkpoints(folder))
        more = ["--workers", str(workers)]
        arguments = resuming(folder, *more) if begun else training(seed, folder, *more, "--overwrite")
        with start(arguments, folder, [partial(slow_steps, seconds=0.1)]) as child:
            landed(child.until(lambda child=child: "run: " in child.out), child.err)
            wanted = _num_lines(folder) + draws.randint(1, 6)
            if landings == _NUM_KILLS - 1 and not from_checkpoint:
                wanted = max(wanted, STEPS_PER_CHECK + 2)  # so that one comes after the first checkpoint
            child.until(lambda wanted=wanted: _num_lines(folder) >= wanted)
            end = child.seconds + draws.uniform(0, 0.3)
            child.until(lambda child=child, end=end: child.seconds >= end)
            child.signal(signal.SIGKILL, group=draws.random() < 0.5)  # else the loader's processes see it themselves
            ended = child.wait()
        if ended.code != -signal.SIGKILL:
            break
        landings += 1
        newest = int(checkpoints(folder)[0].stem[5:]) if checkpoints(folder) else -1
        steps.append(newest)
        from_checkpoint += newest > 0
    landed(landings >= 2, f"{landings} kills")
    landed(from_checkpoint >= 1, f"killed with checkpoints of steps {steps}: none after the first")
    ended = run(resuming(folder, "--workers", str(workers)), folder)
    ended.expect(0)
    return f"{landings} kills, on disk then: steps {steps}; {same_as_whole(seed, folder)}"


def _num_lines(folder: Path) -> int:
    metrics = run_folder(folder) / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def kill_in_save(seed: int, folder: Path, point: str) -> str:
    """Kill it while the checkpoint of step 6 is written."""
    ended = run(training(seed, folder), folder, patches=[partial(signal_in_save, step=6, point=point)])
    landed(ended.code == -signal.SIGKILL, ended)
    left = sorted(path.name for path in (run_folder(folder) / "checkpoint").iterdir())
    ended = run(resuming(folder), folder)
    ended.expect(0)
    going_on = next(line for line in ended.out.splitlines() if line.startswith("going on after step"))
    assert going_on.endswith("step 6" if point in ("renamed", "pointed") else "step 3"), (going_on, left)
    assert not list(run_folder(folder).rglob("*.part")), "a part file is left"
    return f"{len(left)} files, {going_on}; {same_as_whole(seed, folder)}"


def interrupt(seed: int, folder: Path, number: int, code: int, place: str) -> str:
    """Send it a signal in a step, in a save, or in an evaluation."""
    step = random.Random(seed).choice((4, 5, 7, 8))
    patch = {
        "step": partial(signal_in_step, step=step, number=number),
        "save": partial(signal_in_save, step=6, point="half", number=number),
        "evaluation": partial(signal_in_evaluation, call=2, number=number),
    }[place]
    ended = run(training(seed, folder), folder, patches=[patch])
    landed(ended.code not in (0, -number), ended)
    ended.expect(code)
    assert "interrupted; go on with: " in ended.out, ended.out
    wanted = step if place == "step" else 6
    assert checkpoints(folder)[0].stem == f"step-{wanted:08d}", checkpoints(folder)
    run(resuming(folder), folder).expect(0)
    return f"exit {code}, checkpoint of step {wanted}; {same_as_whole(seed, folder)}"


def end_in_preflight(seed: int, folder: Path, number: int, code: int) -> str:
    """Send it a signal between two batches of the pre-flight; the name of the run is free afterwards."""
    with start(
        training(seed, folder, "--preflight"), folder, [partial(long_rehearsal, marker=str(folder / "busy"))]
    ) as child:
        landed(child.until((folder / "busy").exists), child.err)
        child.signal(number)
        ended = child.wait()
    ended.expect(code)
    assert ended.err == "", ended.err
    left = [path.name for path in run_folder(folder).iterdir()] if run_folder(folder).exists() else []
    assert number == signal.SIGKILL or not left, left
    run(training(seed, folder, "--overwrite"), folder).expect(0)
    return f"exit {code}, left: {', '.join(left) or 'nothing'}; {same_as_whole(seed, folder)}"


def hang_up(seed: int, folder: Path) -> str:
    """Start it with nohup, and let the terminal go."""
    patch = partial(signal_in_step, step=5, number=signal.SIGHUP)
    ended = run(
        training(seed, folder, "--workers", "2"), folder, patches=[patch], around=lambda words: ["nohup", *words]
    )
    ended.expect(0)
    return same_as_whole(seed, folder)


def interrupt_group(seed: int, folder: Path, number: int, code: int) -> str:
    """Send a signal to the run and to its loader's processes at once, as a terminal and `timeout` do."""
    arguments = training(seed, folder, "--workers", "2")
    with start(arguments, folder, [partial(slow_steps, seconds=0.1)]) as child:
        landed(child.until(lambda: _num_lines(folder) > 2), child.err)
        waited, delay = child.seconds, random.Random(seed).uniform(0, 0.3)
        child.until(lambda: child.seconds >= waited + delay)
        child.signal(number, group=True)
        ended = child.wait()
    ended.expect(code)
    assert ended.err == "", ended.err
    step = int(checkpoints(folder)[0].stem[5:])
    landed(0 < step < 12, step)
    run(resuming(folder), folder).expect(0)
    return f"exit {code}, checkpoint of step {step}; {same_as_whole(seed, folder)}"


def interrupt_twice(seed: int, folder: Path, number: int, code: int, place: str) -> str:
    """Send it a second signal while it is still busy after the first."""
    marker = folder / "busy"
    patches = {
        "step": [partial(long_step, step=5, marker=str(marker))],
        "save": [partial(long_save, step=5, marker=str(marker)), partial(signal_in_step, step=5, number=number)],
        "evaluation": [
            partial(long_evaluation, marker=str(marker)),
            partial(long_save, step=3, marker=str(folder / "saving")),
        ],
    }[place]
    with start(training(seed, folder, "--workers", "2"), folder, patches) as child:
        landed(child.until(marker.exists), child.err)
        if place != "save":  # there the first came already
            child.signal(number)
        if place == "evaluation":  # which it ends, and then saves
            landed(child.until((folder / "saving").exists), child.err)
        time.sleep(0.3)
        landed(child.process.poll() is None, "it ended at the first signal")
        before, computed = child.seconds, child.processor
        child.signal(number)
        ended = child.wait(left_after=6)
    seconds, computed = ended.seconds - before, ended.processor - computed
    ended.expect(code)
    assert soon(1.0, seconds, computed), f"the second signal took {seconds:.1f} s, computing {computed:.1f} s"
    assert checkpoints(folder), "no checkpoint is left"
    assert not list(run_folder(folder).rglob("*.part")), "a part file is left"
    run(resuming(folder), folder).expect(0)
    return f"exit {code} {seconds:.2f} s ({computed:.2f} s computing) after the second; {same_as_whole(seed, folder)}"


def halt_worker(seed: int, folder: Path, seconds: float) -> str:
    """Stop one of the loader's processes for a while."""
    arguments = training(seed, folder, "--workers", "2")
    with start(arguments, folder, [partial(slow_steps, seconds=0.05)]) as child:
        landed(child.until(lambda: _num_lines(folder) > 0), child.err)
        worker = random.Random(seed).choice(sorted(set(child.members()) - {child.process.pid})[:2])
        os.kill(worker, signal.SIGSTOP)
        before = child.seconds
        child.until(lambda: child.seconds >= before + seconds)
        state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        landed(state == "T" and child.process.poll() is None, f"worker {state}, run {child.process.poll()}")
        os.kill(worker, signal.SIGCONT)
        ended = child.wait()
    ended.expect(0)
    return f"{seconds:.0f} s, then on; {same_as_whole(seed, folder)}"


def run_twice(seed: int, folder: Path) -> str:
    """Go on with a run that is still being trained."""
    with start(training(seed, folder), folder) as child:
        landed(child.until(lambda: len(checkpoints(folder)) > 0), child.err)
        child.signal(signal.SIGSTOP)  # so that it does not end before the others look
        second, third = run(resuming(folder), folder), run(training(seed, folder, "--overwrite"), folder)
        landed(child.process.poll() is None, "the first ended before")
        child.signal(signal.SIGCONT)
        child.wait().expect(0)
    for late in (second, third):
        late.expect(2)
    assert f"process {child.process.pid} on" in second.error, second.error
    return f"exit 2: {second.error.partition(': ')[2]}; {same_as_whole(seed, folder)}"


INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
_CODES = {INT: 130, TERM: 143, HUP: 129}

FAULTS = [
    *(
        Fault(
            "K01",
            f"SIGKILL at {_NUM_KILLS} random moments, workers {workers}",
            partial(kill_at_random, workers=workers),
        )
        for workers in (0, 2)
    ),
    *(
        Fault("K02", f"SIGKILL in a save: {name}", partial(kill_in_save, point=point))
        for point, name in (
            ("before", "before the part file is written"),
            ("half", "half way in the part file"),
            ("synced", "after its fsync"),
            ("renamed", "between rename and pointer"),
            ("pointed", "between pointer and deletion"),
        )
    ),
    *(
        Fault("K15", f"{number.name} in {place}", partial(interrupt, number=number, code=_CODES[number], place=word))
        for number, place, word in (
            (TERM, "a step", "step"),
            (TERM, "a save", "save"),
            (TERM, "an evaluation", "evaluation"),
            (INT, "a step", "step"),
            (INT, "a save", "save"),
            (INT, "an evaluation", "evaluation"),
            (HUP, "a step", "step"),
        )
    ),
    *(
        Fault(
            "K15",
            f"{number.name} to the loader's processes too",
            partial(interrupt_group, number=number, code=_CODES[number]),
        )
        for number in (INT, TERM)
    ),
    *(
        Fault("K15", f"SIGINT twice, in {name}", partial(interrupt_twice, number=INT, code=130, place=place))
        for place, name in (("step", "a step"), ("save", "a save"), ("evaluation", "an evaluation"))
    ),
    *(
        Fault("K15", f"{number.name} in the pre-flight", partial(end_in_preflight, number=number, code=code))
        for number, code in ((TERM, 143), (INT, 130), (signal.SIGKILL, -9))
    ),
    Fault("K15", "SIGHUP of a run under nohup", hang_up),
    Fault("K17", "SIGSTOP of a loader's process, then SIGCONT", partial(halt_worker, seconds=20)),
    Fault("J14", "--resume and --overwrite of a run that is being trained", run_twice),
]
