"""Inject every fault, several times, and print what was seen: python -m faults [--only K05] [--seeds 3] [--jobs 2]."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from faults import damage, diverging, kills, places, ranks, readers
from faults.harness import Fault, NotLandedError

FAULTS = [*kills.FAULTS, *damage.FAULTS, *readers.FAULTS, *places.FAULTS, *ranks.FAULTS, *diverging.FAULTS]


def attempt(fault: Fault, seed: int, folder: Path) -> tuple[str, str, str]:
    """Give whether it landed, what was seen, and the verdict."""
    folder.mkdir()
    try:
        seen = fault.inject(seed, folder)
    except NotLandedError as error:
        return "no", str(error), "FAILED"
    except (AssertionError, OSError, ValueError) as error:
        return "yes", f"{type(error).__name__}: {error}", "FAILED"
    shutil.rmtree(folder)
    return "yes", seen, "held"


def main() -> int:
    """Run them; give 1 if one did not land or did not hold."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--only", action="append", help="an id, such as K05, or a part of a fault's sentence")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    chosen = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # both are ignored in the background of a shell, or by
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, and would be in what is started here
    wanted = [
        fault
        for fault in FAULTS
        if not chosen.only or any(word == fault.id or word in fault.sentence for word in chosen.only)
    ]
    if not wanted:
        parser.error(f"no fault is called {chosen.only}")
    scratch = Path(tempfile.mkdtemp(prefix="panet-faults-"))
    failures, begun = 0, time.monotonic()
    print(f"{'id':4} {'seed':4} {'landed':6} {'verdict':7} fault: what was seen", flush=True)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        waiting = {
            pool.submit(attempt, fault, seed, scratch / f"{fault.id}-{number}-{seed}"): (fault, seed)
            for seed in range(1, chosen.seeds + 1)
            for number, fault in enumerate(wanted)
        }
        for done in as_completed(waiting):
            fault, seed = waiting[done]
            landed, seen, verdict = done.result()
            failures += verdict != "held"
            print(f"{fault.id:4} {seed:4} {landed:6} {verdict:7} {fault.sentence}: {seen}", flush=True)
    minutes = (time.monotonic() - begun) / 60
    print(f"{len(waiting) - failures} of {len(waiting)} held; {minutes:.1f} minutes")
    if failures:
        print(f"what the failures left is in {scratch}")
    else:
        shutil.rmtree(scratch)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
