"""Finished work that survives: one SQLite file per fit, in which every finished piece is a committed row.

A store belongs to one problem, told by its fingerprint; pieces of one kind (the starts, the points of one profile)
share settings, told when the kind is opened.  The number of a piece is its key within its kind, so how many pieces
there shall be is nobody's business here.  Opening a store for another problem, or a kind with other settings, is
refused with what differs.

Rows are written once and never changed.  Each carries a checksum, and values are JSON in which floats round-trip to
the bit (``nan``, ``inf`` and ``-inf`` are strings); nothing is ever unpickled.  The store is held by a lock of the
operating system on a file beside it, which ends with the process however that ends; the file says who holds it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from fits.lock import FileLock
from kinetics.errors import InputError, KineticsError

APPLICATION = 0x6B696E66  # "kinf", in SQLite's field for the kind of file
FORMAT = 1


class StoreError(KineticsError):
    """A store cannot be used; the message names the file and says why.  Nothing in it was changed."""


class StoreDamaged(StoreError):
    """The file is truncated, corrupt, or no store at all."""


class StoreMismatch(StoreError, InputError):
    """The store holds results of another problem or of other settings."""


def encode(value: Any) -> Any:
    """``value`` as plain JSON types; floats keep every bit, and non-finite ones become strings."""
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def canonical(value: Any) -> str:
    """The JSON text of ``value``, the same for equal values."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """A hash of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class Store:
    """An open store; use as a context manager, or `close` it.

    Args:
        path: the file; made when it does not exist.
        fingerprint: hashes of the parts of the problem, as an `Objective` has them.
        about: what a reader needs besides the pieces, such as names and bounds; kept when the store is made.

    Raises:
        StoreInUse: another process holds it.
        StoreDamaged: the file is no store, or not a whole one.
        StoreMismatch: it belongs to another problem.
    """

    def __init__(
        self, path: str | Path, fingerprint: Mapping[str, str], about: Mapping[str, Any] | None = None
    ) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise InputError(f"a store is a file, but {self.path} is a folder")
        if not self.path.parent.is_dir():
            raise InputError(f"the folder of the store {self.path} does not exist")
        self._lock = FileLock(self.path)
        try:
            if not self.path.exists():
                self._create(dict(fingerprint), dict(about or {}))
            self._connection = _connect(self.path)
            try:
                self._check(dict(fingerprint))
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; what was put is on disk already."""
        self._connection.close()
        self._lock.release()

    @property
    def about(self) -> Mapping[str, Any]:
        return dict(_meta(self._connection, self.path)["about"])

    def open_kind(self, kind: str, settings: Mapping[str, Any]) -> Pieces:
        """The pieces of one kind, which all come from these settings.

        Raises:
            StoreMismatch: the store holds pieces of this kind from other settings.
        """
        with _translated(self.path):
            row = self._connection.execute("SELECT settings FROM kinds WHERE kind = ?", (kind,)).fetchone()
        if row is None:
            with _translated(self.path), self._connection:
                self._connection.execute("INSERT INTO kinds VALUES (?, ?)", (kind, canonical(settings)))
        else:
            stored, asked = _flat(json.loads(row[0])), _flat(encode(settings))
            changed = [
                f"{name}: {stored.get(name, 'absent')} in the store, {asked.get(name, 'absent')} now"
                for name in sorted({*stored, *asked})
                if stored.get(name) != asked.get(name)
            ]
            pieces = Pieces(self.path, self._connection, kind)
            if changed and not pieces.numbers():  # interrupted before the first was finished: nothing to protect
                with _translated(self.path), self._connection:
                    self._connection.execute(
                        "UPDATE kinds SET settings = ? WHERE kind = ?", (canonical(settings), kind)
                    )
            elif changed:
                raise StoreMismatch(
                    f"{self.path} holds pieces of kind {kind!r} from other settings ({'; '.join(changed)}): "
                    "go on with the stored settings, or name another store"
                )
        return Pieces(self.path, self._connection, kind)

    def _create(self, fingerprint: dict[str, str], about: dict[str, Any]) -> None:
        """Make the file beside its place and move it there, so that no half-made store is ever found."""
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        beside.unlink(missing_ok=True)
        try:
            connection = sqlite3.connect(beside)
            try:
                connection.executescript(
                    f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
                    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
                    "CREATE TABLE kinds (kind TEXT PRIMARY KEY, settings TEXT NOT NULL) WITHOUT ROWID;"
                    "CREATE TABLE pieces (kind TEXT NOT NULL, number INTEGER NOT NULL, result TEXT NOT NULL,"
                    " circumstances TEXT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (kind, number)) WITHOUT ROWID;"
                )
                created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                meta = {"fingerprint": fingerprint, "about": about, "created": created}
                with connection:
                    connection.executemany(
                        "INSERT INTO meta VALUES (?, ?)", [(name, canonical(value)) for name, value in meta.items()]
                    )
            finally:
                connection.close()
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)

    def _check(self, fingerprint: dict[str, str]) -> None:
        stored = _meta(self._connection, self.path)["fingerprint"]
        if stored != fingerprint:
            parts = {*stored, *fingerprint}
            changed = sorted(part for part in parts if stored.get(part) != fingerprint.get(part))
            same = sorted(parts - {*changed})
            kept = f"; unchanged: {', '.join(same)}" if same else ""
            raise StoreMismatch(
                f"{self.path} belongs to another problem (changed: {', '.join(changed)}{kept}): "
                "undo the change, or name another store for the changed problem"
            )


class Pieces:
    """The stored pieces of one kind, by number."""

    def __init__(self, path: Path, connection: sqlite3.Connection, kind: str) -> None:
        self._path, self._connection, self.kind = path, connection, kind

    def numbers(self) -> frozenset[int]:
        with _translated(self._path):
            rows = self._connection.execute("SELECT number FROM pieces WHERE kind = ?", (self.kind,)).fetchall()
        return frozenset(int(row[0]) for row in rows)

    def put(self, number: int, result: Mapping[str, Any], circumstances: Mapping[str, Any] | None = None) -> None:
        """Commit a finished piece; ``circumstances`` is what may differ between equal runs: times, processes.

        Raises:
            StoreError: there is a piece of this number already.
        """
        row = (self.kind, number, canonical(result), canonical(circumstances or {}))
        try:
            with _translated(self._path), self._connection:
                self._connection.execute("INSERT INTO pieces VALUES (?, ?, ?, ?, ?)", (*row, _checksum(*row)))
        except sqlite3.IntegrityError:
            raise StoreError(
                f"{self._path} holds {self.kind} {number} already; a stored piece is never replaced"
            ) from None

    def items(self) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Number, result and circumstances of every piece, by number.

        Raises:
            StoreDamaged: a piece is not what was written.
        """
        query = "SELECT number, result, circumstances, checksum FROM pieces WHERE kind = ? ORDER BY number"
        with _translated(self._path):
            rows = self._connection.execute(query, (self.kind,)).fetchall()
        for number, result, circumstances, checksum in rows:
            if _checksum(self.kind, number, result, circumstances) != checksum:
                raise StoreDamaged(
                    f"{self._path} is damaged: {self.kind} {number} is not what was written; "
                    "nothing was changed, put back a copy of the file or name another store"
                )
            yield int(number), json.loads(result), json.loads(circumstances)


@contextmanager
def read_store(path: str | Path, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], Pieces]]:
    """Look into a store, also while a fit is filling it: what it is about, the settings of the kind, its pieces.

    The first mapping has ``fingerprint``, ``about`` and ``created``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no store {path}")
    connection = _connect(path)
    try:
        meta = _meta(connection, path)
        row = connection.execute("SELECT settings FROM kinds WHERE kind = ?", (kind,)).fetchone()
        if row is None:
            raise InputError(f"{path} holds no pieces of kind {kind!r}")
        yield meta, json.loads(row[0]), Pieces(path, connection, kind)
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing store and see that all of it is there."""
    damaged = "nothing in it was changed; put back a copy of the file or name another store"
    if path.stat().st_size == 0:  # SQLite would take it for a new database
        raise StoreDamaged(f"{path} is damaged: the file is empty; {damaged}")
    # mode=rw: never make a file that is not there.  as_uri quotes what a path may contain and a URI may not.
    connection = sqlite3.connect(path.resolve().as_uri() + "?mode=rw", uri=True, timeout=30.0)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION:
            raise StoreDamaged(f"{path} is a database of another program, not a store of a fit; it was not changed")
        if version != FORMAT:
            raise StoreError(f"{path} has store format {version}, expected {FORMAT}; use the version that wrote it")
        verdict = connection.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise StoreDamaged(f"{path} is damaged ({' '.join(verdict.split())}); {damaged}")
    except sqlite3.OperationalError as error:
        connection.close()
        raise StoreError(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreDamaged(f"{path} is damaged ({error}); {damaged}") from error
    except StoreError:
        connection.close()
        raise
    return connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:  # a full disk, a vanished network folder, a page gone bad
        raise StoreError(f"{path}: {error}; what was stored before is kept") from error


def _meta(connection: sqlite3.Connection, path: Path) -> dict[str, Any]:
    with _translated(path):
        return {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM meta")}


def _checksum(kind: str, number: int, result: str, circumstances: str) -> str:
    return hashlib.sha256("\0".join((kind, str(number), result, circumstances)).encode()).hexdigest()


def _flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as ``{"limits.evaluations": "1000"}``, to name what changed."""
    if isinstance(settings, Mapping) and settings:
        flat: dict[str, str] = {}
        for name, value in settings.items():
            flat.update(_flat(value, f"{prefix}.{name}" if prefix else str(name)))
        return flat
    return {prefix: json.dumps(settings)}
