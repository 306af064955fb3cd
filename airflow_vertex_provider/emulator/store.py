"""What the emulator remembers: resources as JSON in, the same after any crash out.

One SQLite file in the state directory. Every change is one transaction, so a ``kill -9`` between any two
instructions leaves each job either as it was or as it was to become.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    key INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, project TEXT NOT NULL,
    location TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, notes TEXT NOT NULL,
    UNIQUE (kind, project, location, id)
);
CREATE TABLE IF NOT EXISTS tasks (
    job INTEGER NOT NULL, path TEXT NOT NULL, position INTEGER NOT NULL,
    body TEXT NOT NULL, notes TEXT NOT NULL, PRIMARY KEY (job, path)
);
CREATE TABLE IF NOT EXISTS facts (
    kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, name)
);
"""


@dataclass
class Resource:
    """A pipeline job, a custom job or an operation.

    :param body: the resource as the API shows it (a pipeline job without ``jobDetail``).
    :param notes: what only the emulator needs to know.
    """

    key: int
    kind: str
    project: str
    location: str
    id: str
    body: Json
    notes: Json


@dataclass
class Task:
    """One entry of a job's ``taskDetails``.

    :param path: DAG keys from the root, joined by ``/``; empty for the root entry.
    :param body: the PipelineTaskDetail as the API shows it.
    :param notes: what only the emulator needs: attempts, executor input, outputs, process.
    """

    path: str
    body: Json
    notes: Json = field(default_factory=dict)


class Store:
    """The state directory's database.

    :param path: the SQLite file; made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; nothing more can be read or written."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside one change: all of it happens, or nothing does."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # Resources

    def insert(
        self, kind: str, project: str, location: str, identifier: str, body: Json, notes: Json
    ) -> Resource | None:
        """Add a resource; ``None`` if one of that kind and id is there already."""
        with self._lock:
            try:
                cursor = self._db.execute(
                    "INSERT INTO resources (kind, project, location, id, body, notes) VALUES (?,?,?,?,?,?)",
                    (kind, project, location, identifier, json.dumps(body), json.dumps(notes)),
                )
            except sqlite3.IntegrityError:
                return None
            return Resource(cursor.lastrowid or 0, kind, project, location, identifier, body, notes)

    def unused_id(self, kind: str, project: str, location: str, draw: Callable[[], str]) -> str:
        """Draw ids until one is free; with a fixed seed a restart draws the same ones again."""
        while True:
            identifier = draw()
            if self.find(kind, project, location, identifier) is None:
                return identifier

    def find(self, kind: str, project: str, location: str, identifier: str) -> Resource | None:
        """Return the resource with that id, or ``None``."""
        rows = self._resources(
            "kind=? AND project=? AND location=? AND id=?", kind, project, location, identifier
        )
        return rows[0] if rows else None

    def get(self, key: int) -> Resource:
        """Return the resource with that key; ``KeyError`` if it was deleted."""
        rows = self._resources("key=?", key)
        if not rows:
            raise KeyError(key)
        return rows[0]

    def all(self, kind: str, project: str | None = None, location: str | None = None) -> list[Resource]:
        """Return the resources of a kind, oldest first; of one parent if it is named."""
        if project is None or location is None:
            return self._resources("kind=?", kind)
        return self._resources("kind=? AND project=? AND location=?", kind, project, location)

    def owned(self, kind: str, owner: int) -> list[Resource]:
        """Return the resources of a kind whose notes name that owner, oldest first."""
        return self._resources("kind=? AND json_extract(notes, '$.owner')=?", kind, owner)

    def _resources(self, condition: str, *values: object) -> list[Resource]:
        with self._lock:
            rows = self._db.execute(
                f"SELECT key, kind, project, location, id, body, notes FROM resources "  # noqa: S608
                f"WHERE {condition} ORDER BY key",
                values,
            ).fetchall()
        return [
            Resource(key, kind, project, location, identifier, json.loads(body), json.loads(notes))
            for key, kind, project, location, identifier, body, notes in rows
        ]

    def save(self, resource: Resource) -> None:
        """Write a resource back."""
        with self._lock:
            self._db.execute(
                "UPDATE resources SET body=?, notes=? WHERE key=?",
                (json.dumps(resource.body), json.dumps(resource.notes), resource.key),
            )

    @contextmanager
    def change(self, key: int) -> Iterator[Resource]:
        """Read a resource, let the caller change it, and write it back, undisturbed by others.

        :raises KeyError: the resource was deleted.
        """
        with self.transaction():
            resource = self.get(key)
            yield resource
            self.save(resource)

    def delete(self, key: int) -> None:
        """Remove a resource, and its tasks if it is a job."""
        with self.transaction():
            self._db.execute("DELETE FROM resources WHERE key=?", (key,))
            self._db.execute("DELETE FROM tasks WHERE job=?", (key,))

    # Tasks

    def tasks(self, job: int) -> list[Task]:
        """Return a job's task entries in the order in which they were made."""
        with self._lock:
            rows = self._db.execute(
                "SELECT path, body, notes FROM tasks WHERE job=? ORDER BY position", (job,)
            ).fetchall()
        return [Task(row[0], json.loads(row[1]), json.loads(row[2])) for row in rows]

    def save_task(self, job: int, task: Task) -> None:
        """Write one task entry, new or changed."""
        with self._lock:
            self._db.execute(
                "INSERT INTO tasks (job, path, position, body, notes) VALUES (?, ?, "
                "(SELECT COUNT(*) FROM tasks WHERE job=?), ?, ?) "
                "ON CONFLICT (job, path) DO UPDATE SET body=excluded.body, notes=excluded.notes",
                (job, task.path, job, json.dumps(task.body), json.dumps(task.notes)),
            )

    # Facts: anything that is found by its name alone

    def fact(self, kind: str, name: str) -> Json | None:
        """Return what was remembered under a name."""
        with self._lock:
            row = self._db.execute("SELECT body FROM facts WHERE kind=? AND name=?", (kind, name)).fetchone()
        return json.loads(row[0]) if row else None

    def facts(self, kind: str) -> dict[str, Json]:
        """Return everything of a kind, by name."""
        with self._lock:
            rows = self._db.execute(
                "SELECT name, body FROM facts WHERE kind=? ORDER BY name", (kind,)
            ).fetchall()
        return {row[0]: json.loads(row[1]) for row in rows}

    def remember(self, kind: str, name: str, body: Json) -> None:
        """Remember something under a name, in place of what was there."""
        with self._lock:
            self._db.execute(
                "INSERT INTO facts (kind, name, body) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, name) DO UPDATE SET body=excluded.body",
                (kind, name, json.dumps(body)),
            )

    def forget(self, kind: str, name: str) -> None:
        """Forget what was remembered under a name, if anything was."""
        with self._lock:
            self._db.execute("DELETE FROM facts WHERE kind=? AND name=?", (kind, name))
