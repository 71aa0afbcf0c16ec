"""Faults of what reads pictures: processes that die, fail or hang, too little shared memory, pictures that rot."""

import random
import shutil
from functools import partial
from pathlib import Path

from faults.harness import (
    Fault,
    checkpoints,
    landed,
    metrics,
    resuming,
    run,
    run_folder,
    same_as_whole,
    shapes,
    soon,
    start,
    training,
    whole_run,
)
from faults.patches import end_worker, spoil_picture
from panet.data.batching import BatchPlan
from panet.data.coco import read_coco


def lose_worker(seed: int, folder: Path, how: str, cause: str, timeout: float = 300.0) -> str:
    """End one of two loader processes, or let it fail or hang."""
    marker = folder / "ended"
    sample = random.Random(seed).randint(3, 7)
    arguments = training(seed, folder, "--workers", "2", "--set", f"data.worker_timeout={timeout}")
    with start(arguments, folder, [partial(end_worker, how=how, sample=sample, marker=str(marker))]) as child:
        landed(child.until(marker.exists), child.err)
        before, computed = child.seconds, child.processor
        ended = child.wait(left_after=2)
    seconds, computed = ended.seconds - before, ended.processor - computed
    ended.expect(4)
    assert cause in ended.error, ended.error
    assert soon(10.0, seconds, computed), f"it took {seconds:.1f} s, computing {computed:.1f} s"
    step = int(checkpoints(folder)[0].stem[5:])
    run(resuming(folder), folder).expect(0)
    return f"exit 4 after {seconds:.1f} s: {ended.error}; checkpoint of step {step}; {same_as_whole(seed, folder)}"


def lack_shared_memory(seed: int, folder: Path) -> str:
    """Train with a /dev/shm of 2 MB and batches of more."""

    def around(words: list[str]) -> list[str]:
        mount = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mount, "sh", *words]

    large = ["--set", "data.short_sides=[320]", "--set", "data.max_side=448"]
    ended = run(training(seed, folder, *large, "--workers", "2"), folder, around=around)
    landed(ended.code != 0, "there was enough")
    ended.expect(4)
    assert "/dev/shm" in ended.error, ended.error
    assert "--workers 0" in ended.error, ended.error
    run(resuming(folder, "--workers", "0"), folder, around=around).expect(0)
    return f"exit 4 after {ended.seconds:.1f} s in all: {ended.error}; goes on with --workers 0"


def _picture_of_step(root: Path, seed: int, step: int) -> Path:
    """Give a picture that comes in a step of the first epoch."""
    dataset = read_coco(root / "train.json", root / "images")
    heights, widths = dataset.images.sizes.T
    indices = BatchPlan((widths / heights).tolist(), 2, True, seed).epoch(0)[step - 1]
    return Path(dataset.images[random.Random(seed).choice(indices)].path)


def rot(seed: int, folder: Path, mode: str, remove: bool, workers: int = 0) -> str:
    """Spoil a picture of step 11 after step 5."""
    root, spare = folder / "shapes", folder / "spare"
    shutil.copytree(shapes(seed, folder), root)
    picture = _picture_of_step(root, seed, 11)
    shutil.copy(picture, spare)
    arguments = training(seed, folder, "--on-bad-data", mode, "--workers", str(workers), shapes_in=root)
    patch = partial(spoil_picture, step=5, path=str(picture), remove=remove)
    ended = run(arguments, folder, patches=[patch])
    landed(not picture.exists() or picture.read_bytes() != spare.read_bytes(), "the picture is whole")
    if mode == "strict":
        ended.expect(2)
        assert ended.error.startswith(str(picture)), ended.error
        assert checkpoints(folder)[0].stem == "step-00000010", checkpoints(folder)
        shutil.copy(spare, picture)
        run(resuming(folder), folder).expect(0)
        why = ended.error.removeprefix(str(root))
        return f"exit 2: {why}; checkpoint of step 10; with it repaired: {same_as_whole(seed, folder)}"
    ended.expect(0)
    told = [line for line in ended.out.splitlines() if line.startswith("left out of its batch")]
    assert len(told) == 1, told
    assert str(picture) in told[0], told
    ours, whole = (metrics(place) for place in (run_folder(folder), whole_run(seed, folder)))
    same = [one == other for one, other in zip(ours, whole, strict=True)]
    first = next(line["step"] for line, equal in zip(ours, same, strict=True) if not equal)
    assert first == 11, first
    return f"{told[0].replace(str(root), '')}; steps 1 to 10 as uninterrupted, 12 done"


FAULTS = [
    *(
        Fault(
            "K07",
            f"a picture {name}, {mode}, workers {workers}",
            partial(rot, mode=mode, remove=remove, workers=workers),
        )
        for mode, name, remove, workers in (
            ("strict", "overwritten in mid-epoch", False, 0),
            ("strict", "removed in mid-epoch", True, 2),
            ("skip", "overwritten in mid-epoch", False, 2),
            ("skip", "removed in mid-epoch", True, 0),
        )
    ),
    *(
        Fault("K08", f"a loader's process {name}", partial(lose_worker, how=how, cause=cause, **more))
        for name, how, cause, more in (
            ("killed", "kill", "SIGKILL", {}),
            ("crashes", "segv", "SIGSEGV", {}),
            ("ends by itself", "exit", "exit code 0", {}),
            ("raises", "raise", "a codec lost its table", {}),
            ("hangs", "hang", "hangs", {"timeout": 3.0}),
        )
    ),
    Fault("K09", "/dev/shm of 2 MB", lack_shared_memory),
]
