"""Faults of disk, memory and surroundings: full, limited, removed, read-only, in another place or time."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path

from faults.harness import (
    Fault,
    checkpoints,
    hash_weights,
    landed,
    metrics,
    resuming,
    run,
    run_folder,
    same_as_whole,
    shapes,
    training,
    whole_run,
)
from faults.patches import (
    fill_disk,
    hoard,
    limit_files,
    limit_memory,
    move_clock,
    remove_folder,
    remove_lock,
    set_umask,
    signal_in_step,
)

_LEFT = 1_200_000  # bytes: half a checkpoint, as after the first of two on a disk for one and a half
_MB = 1 << 20


def fill(seed: int, folder: Path, leave: int, killed: bool) -> str:
    """Fill the disk of the runs from step 4 to step 7; a save at step 6 fails."""
    runs, kept = folder / "runs", folder / "kept"
    runs.mkdir()

    def around(words: list[str]) -> list[str]:
        script = f'mount -t tmpfs -o size=16m tmpfs "{runs}" && "$@"; code=$?; cp -a "{runs}" "{kept}"; exit $code'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *words]

    patches = [partial(fill_disk, step=4, until=8 if killed else 7, path=str(runs / "ballast"), leave=leave)]
    if killed:
        patches.append(partial(signal_in_step, step=8))
    ended = run(training(seed, folder), folder, patches=patches, around=around)
    runs.rmdir()
    kept.rename(runs)
    told = [line for line in ended.out.splitlines() if line.startswith("step 6 is not saved: ")]
    landed(len(told) == 1, ended)
    assert "No space left on device" in told[0], told
    assert not list(run_folder(folder).rglob("*.part")), "a part file is left"
    if killed:
        (runs / "ballast").unlink()
        landed(ended.code == 128 + signal.SIGKILL, ended)
        assert checkpoints(folder)[0].stem == "step-00000003", checkpoints(folder)
        again = run(resuming(folder), folder)
        again.expect(0)
        assert "going on after step 3" in again.out, again.out
        return f"killed while full: goes on after step 3; {same_as_whole(seed, folder)}"
    assert "bytes, " in told[0] or not leave, told
    ended.expect(0)
    assert "step 9: saving succeeds again" in ended.out, ended.out
    return f"{told[0].replace(str(folder), '')}; step 9 is saved; {same_as_whole(seed, folder)}"


def limit_file_size(seed: int, folder: Path) -> str:
    """Let no file be larger than 1 MB from step 4 to step 7."""
    ended = run(training(seed, folder), folder, patches=[partial(limit_files, step=4, until=7, size=_MB)])
    told = [line for line in ended.out.splitlines() if line.startswith("step 6 is not saved: ")]
    landed(len(told) == 1, ended)
    ended.expect(0)
    assert "step 9: saving succeeds again" in ended.out, ended.out
    assert not list(run_folder(folder).rglob("*.part")), "a part file is left"
    return f"{told[0].replace(str(folder), '')}; step 9 is saved; {same_as_whole(seed, folder)}"


def limit_address_space(seed: int, folder: Path) -> str:
    """Let no more memory be mapped in the first step than 30 MB."""
    large = ["--set", "data.short_sides=[512]", "--set", "data.max_side=700"]
    ended = run(training(seed, folder, *large), folder, patches=[partial(limit_memory, more=30 * _MB)])
    landed(ended.code != 0, "there was enough")
    ended.expect(4)
    assert "memory ran out on a batch of shape (2, 3, " in ended.error, ended.error
    run(resuming(folder), folder).expect(0)
    return f"exit 4: {ended.error}; goes on without the limit"


def limit_group(seed: int, folder: Path) -> str:
    """Take all memory that the process's control group may have, in step 5."""
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    group = Path("/sys/fs/cgroup/memory" + own.partition(":memory:")[2]) / f"faults-{os.getpid()}-{folder.name}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(1500 * _MB))

        def around(words: list[str]) -> list[str]:
            return ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh", *words]

        ended = run(training(seed, folder), folder, patches=[partial(hoard, step=5)], around=around)
        refused = int((group / "memory.failcnt").read_text())
    finally:
        group.rmdir()
    landed(ended.code == -signal.SIGKILL and refused > 0, (ended, refused))
    run(resuming(folder), folder).expect(0)
    return f"killed by the system at 1500 MB; {same_as_whole(seed, folder)}"


def remove(seed: int, folder: Path, workers: int) -> str:
    """Remove the run's folder after step 5."""
    place = run_folder(folder)
    patch = partial(remove_folder, step=5, path=str(place))
    ended = run(training(seed, folder, "--workers", str(workers)), folder, patches=[patch])
    told = [line for line in ended.out.splitlines() if "was removed; made anew" in line]
    landed(len(told) == 1, ended)
    ended.expect(0)
    last = [hash_weights(run / "weights" / "last.safetensors") for run in (place, whole_run(seed, folder))]
    assert last[0] == last[1], "the last weights differ from the uninterrupted run's"
    left = metrics(place)
    assert [line["step"] for line in left if "losses" in line] == list(range(6, 13)), left
    run(resuming(folder), folder).expect(0)
    return f"{told[0].replace(str(place), 'run')}; last weights as uninterrupted"


def unlock(seed: int, folder: Path) -> str:
    """Remove the run's lock file after step 10, when there is a best evaluation already."""
    patch = partial(remove_lock, step=10, path=str(run_folder(folder) / ".lock"))
    run(training(seed, folder), folder, patches=[patch]).expect(0)
    return same_as_whole(seed, folder)


def move(seed: int, folder: Path, seconds: float) -> str:
    """Set the clock after step 5."""
    ended = run(training(seed, folder), folder, patches=[partial(move_clock, step=5, seconds=seconds)])
    ended.expect(0)
    assert "-1 day" not in ended.out, ended.out
    return same_as_whole(seed, folder)


def surround(seed: int, folder: Path) -> str:
    """Train in another time zone, with locale C, without a home, with a umask of 077."""
    environment = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "HOME": None}
    ended = run(
        training(seed, folder),
        folder,
        patches=[partial(set_umask, mask=0o077)],
        environment={**environment, "USER": None},
    )
    ended.expect(0)
    mode = run_folder(folder).stat().st_mode & 0o777
    landed(mode == 0o700, oct(mode))
    run(resuming(folder), folder).expect(0)
    return same_as_whole(seed, folder)


def read_only(seed: int, folder: Path) -> str:
    """Train on a data set that nothing can be written to."""
    root = folder / "shapes"
    shutil.copytree(shapes(seed, folder), root)

    def around(words: list[str]) -> list[str]:
        mount = f'mount --bind "{root}" "{root}" && mount -o remount,ro,bind "{root}"'
        script = f'{mount} && ! touch "{root}/probe" 2> /dev/null && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *words]

    before = sorted(path.name for path in root.rglob("*"))
    ended = run(training(seed, folder, "--workers", "2", shapes_in=root), folder, around=around)
    landed(bool(ended.out), "the folder could be written to")
    ended.expect(0)
    assert sorted(path.name for path in root.rglob("*")) == before
    return same_as_whole(seed, folder)


FAULTS = [
    Fault("K03", "disk full but for half a checkpoint, then free", partial(fill, leave=_LEFT, killed=False)),
    Fault("K03", "disk full to the last byte, then free", partial(fill, leave=0, killed=False)),
    Fault("K03", "disk full, and SIGKILL", partial(fill, leave=_LEFT, killed=True)),
    Fault("K04", "files of 1 MB at most (RLIMIT_FSIZE)", limit_file_size),
    Fault("K10", "30 MB more of address space at most (RLIMIT_AS)", limit_address_space),
    Fault("K10", "control group out of memory", limit_group),
    *(
        Fault("K19", f"the run's folder removed, workers {workers}", partial(remove, workers=workers))
        for workers in (0, 2)
    ),
    Fault("K19", "the run's lock file removed", unlock),
    Fault("K21", "time zone, locale C, no HOME, umask 077", surround),
    Fault("K21", "clock an hour back", partial(move, seconds=-3600.0)),
    Fault("K21", "clock a year forward", partial(move, seconds=3.2e7)),
    Fault("K23", "read-only data set", read_only),
]
