"""A zip of modules that says nothing but what is in it: names and contents in, the same bytes for ever out.

Runs on a worker. Standard library only, and nothing in it depends on the Python or the zlib that runs it: so
the digest of the bytes names the code.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The earliest time a zip can hold, and the mode of every file in it.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
_UNIX = 3


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the zip of ``files``: name, with ``/`` between folders, to content."""
    buffer = io.BytesIO()
    # Stored, not compressed: what a compressor makes of the same bytes differs from build to build.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = _UNIX
            entry.external_attr = _MODE << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
