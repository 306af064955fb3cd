"""Ignore files: folders with a ``.vertexignore`` in, whether a path below is left out, out.

The syntax is that of ``.gitignore``, and so is the meaning: a file deeper down goes before one further up,
the last line that matches decides, and nothing below a folder that is left out can be let in again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = ".vertexignore"


@dataclass(frozen=True)
class Ignoring:
    """The ignore files that hold for a folder, nearest last: pairs of folder and parsed patterns."""

    files: tuple[tuple[Path, Any], ...] = ()

    def entering(self, folder: Path) -> Ignoring:
        """Return what holds inside ``folder``.

        :raises ValueError: its ignore file cannot be read, or holds a pattern that is none.
        """
        file = folder / NAME
        if not file.is_file():
            return self
        from pathspec import GitIgnoreSpec

        try:
            spec = GitIgnoreSpec.from_lines(file.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from error
        return Ignoring((*self.files, (folder, spec)))

    def leaves_out(self, path: Path, *, is_folder: bool) -> bool:
        """Tell whether ``path``, which lies below all the ignore files, is left out."""
        for folder, spec in reversed(self.files):
            decided = spec.check_file(path.relative_to(folder).as_posix() + "/" * is_folder).include
            if decided is not None:
                return bool(decided)
        return False
