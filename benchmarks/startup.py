"""How long the first answer takes: `import panet` and `panet --help`, each in fresh processes.

    python benchmarks/startup.py

Wanted: 0.3 s for the import, 0.5 s for the help, and torch in neither.
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 9
HELP = "from panet.cli.main import run; run(['--help'])"
CASES = {
    "python (nothing)": ("pass", None),
    "import panet": ("import panet", 0.3),
    "panet --help": (HELP, 0.5),
    "panet train --help": (HELP.replace("'--help'", "'train', '--help'"), 0.5),
}


def seconds(code: str) -> float:
    """Time a fresh Python that runs some code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def imports_torch(code: str) -> bool:
    """Tell whether torch is imported in the end."""
    check = f"{code}\nimport sys\nsys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", check], check=False, stdout=subprocess.DEVNULL).returncode != 0


def main() -> None:
    """Print a line a case: the median, the limit, and whether torch came along."""
    print(f"{'':20} {'median':>8} {'limit':>7}  torch imported")
    for name, (code, limit) in CASES.items():
        seconds(code)  # once without counting: files come into the cache
        median = statistics.median(seconds(code) for _ in range(ROUNDS))
        shown = "-" if limit is None else f"{limit:.1f} s"
        print(f"{name:20} {median:6.3f} s {shown:>7}  {'yes' if imports_torch(code) else 'no'}")


if __name__ == "__main__":
    main()
