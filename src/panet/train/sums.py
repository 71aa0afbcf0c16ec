"""SHA256SUMS of a run's folder: what was written last, and what `sha256sum -c SHA256SUMS` compares."""

import hashlib
from pathlib import Path

from panet.weights.files import write_whole

__all__ = ["Sums"]

_NAME = "SHA256SUMS"


class Sums:
    """The sums of files below a folder. Written after the files that it names, it points to the newest of them.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sums: dict[str, str] = {}

    def read(self) -> None:
        """Take over what the folder's file says; lines that are none of a sum are passed over."""
        path = self._folder / _NAME
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                digest, separator, name = line.partition("  ")
                if separator and len(digest) == hashlib.sha256().digest_size * 2:
                    self._sums[name] = digest

    def names(self) -> list[str]:
        """List the files, relative to the folder."""
        return list(self._sums)

    def note(self, path: Path, digest: str) -> None:
        """Know the sum of a file that was just written."""
        self._sums[path.relative_to(self._folder).as_posix()] = digest

    def keep(self, paths: list[Path]) -> None:
        """Know no other files than these, in this order."""
        names = [path.relative_to(self._folder).as_posix() for path in paths]
        self._sums = {name: self._sums[name] for name in names if name in self._sums}

    def write(self) -> None:
        """Write the file; CheckpointError if that cannot be."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in self._sums.items())
        write_whole(self._folder / _NAME, lines.encode())
