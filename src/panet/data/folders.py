"""The name of a picture in an annotation file -> the file it stands for, inside the folder; links are followed."""

import os
import unicodedata
from pathlib import Path

from panet.data.images import printable
from panet.data.problems import RowError
from panet.errors import nearest

__all__ = ["PictureFolder"]

_LONGEST_NAME = 4096  # characters: no system opens a longer one


class PictureFolder:
    """A folder of pictures; lists what it holds at most once, to say what an absent name may have meant."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[Path, dict[str, list[str]]] = {}  # folder -> plain name -> names

    def find(self, file_name: str) -> Path:
        """Give the file of a name.

        Raises:
            RowError: the name leads out of the folder, is an address, is a folder's, or there is no such file.
        """
        name = printable(file_name)[:200]
        if "://" in file_name:
            raise RowError("name-is-address", f"file_name {name} is an address; download the picture into the folder")
        if "\0" in file_name:
            raise RowError("name-with-nul", f"file_name {name} holds a NUL character")
        if len(file_name) > _LONGEST_NAME:
            raise RowError("name-too-long", f"file_name {name}... has {len(file_name)} characters")
        path = Path(os.path.normpath(self.path / file_name))
        if not path.is_relative_to(os.path.normpath(self.path)):
            why = f"file_name {name} leads out of {printable(self.path)}; give it relative to that folder"
            raise RowError("name-leads-out", why)
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except OSError as error:  # a part of the name is too long, or a folder may not be entered
            raise RowError("picture-unreadable", f"file_name {name} cannot be looked up ({error.strerror})") from error
        if is_folder:
            raise RowError("name-is-folder", f"file_name {name} is a folder")
        if not is_file:
            why = f"{name} is not in {printable(self.path)}{self._hint(path, file_name)}"
            raise RowError("picture-missing", why)
        return path

    def _hint(self, path: Path, file_name: str) -> str:
        if path.is_symlink():
            return " (a link to nothing)"
        if path.exists():
            return " as a file (a device, a pipe or a socket)"
        if "\\" in file_name:
            return "; write / instead of \\ between folders"
        alike = self._list(path.parent).get(_plain(path.name), [])
        composed = unicodedata.normalize("NFC", path.name)
        if any(unicodedata.normalize("NFC", name) == composed for name in alike):
            return "; a name that looks the same is, whose accents are composed in another way (Unicode NFC or NFD)"
        return nearest(path.name, alike)

    def _list(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(folder):
                    names.setdefault(_plain(name), []).append(name)
            except (OSError, ValueError):  # no such folder, or a name that no system knows
                names = {}
            self._names[folder] = names
        return self._names[folder]


def _plain(name: str) -> str:
    """Give what names have in common that differ in case, or in how accents are composed, only."""
    return unicodedata.normalize("NFC", name).lower()
