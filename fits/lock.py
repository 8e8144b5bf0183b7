"""A lock that ends with its process: `FileLock` holds ``<path>.lock`` through the operating system.

A file whose mere existence is the lock would survive ``kill -9`` and have to be removed by hand.  Here the operating
system holds the lock for the open file and drops it when the process ends; the content only says who holds it.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

from kinetics.errors import InputError, KineticsError

# What this process holds, by resolved path: the operating system would grant it a second time.
_held: dict[Path, int] = {}

# Windows locks bytes, and locked bytes cannot be read: lock one far behind the text that names the holder.
_FAR_BYTE = 1 << 30


class StoreInUse(KineticsError):
    """Another process works on the store; the message names it."""


class FileLock:
    """An exclusive lock on ``path``, held from construction to `release` or to the end of the process.

    Raises:
        StoreInUse: somebody else holds it.
        InputError: the folder cannot be written, or its file system cannot lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        self._key = self.path.resolve()
        if _held.get(self._key) == os.getpid():  # a forked child has its parent's entries, but not its locks
            raise StoreInUse(f"the store {path} is already open in this process ({os.getpid()}): close it first")
        for _ in range(10):
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise InputError(f"the store {path} cannot be locked: {error.strerror}: {self.path.name}") from error
            if not _acquire(descriptor, path):
                holder = _read(descriptor)
                os.close(descriptor)
                raise StoreInUse(
                    f"the store {path} is in use by {holder}: wait until that process ends, stop it, "
                    "or name another store"
                )
            # The former holder may have removed the file between our opening and our locking it.
            try:
                current = os.stat(self.path)
            except FileNotFoundError:
                current = None
            if current is not None and os.path.samestat(current, os.fstat(descriptor)):
                break
            os.close(descriptor)
        else:
            raise StoreInUse(f"the store {path} is opened and closed by other processes all the time; try again")
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since})
        os.ftruncate(descriptor, 0)
        os.write(descriptor, text.encode())
        self._descriptor: int | None = descriptor
        _held[self._key] = os.getpid()

    def release(self) -> None:
        """Give the lock back; harmless when done twice."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        _held.pop(self._key, None)
        if sys.platform == "win32":  # an open file cannot be removed there, so the unlocked file stays
            import msvcrt

            os.lseek(descriptor, _FAR_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        else:
            self.path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> bool:
    """Lock the open file or say that somebody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _FAR_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            # lockf, not flock: forked children inherit a flock and would hold the store after their parent's death.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        os.close(descriptor)
        raise InputError(
            f"the store {path} cannot be locked ({error.strerror}): put it on a disk of this computer"
        ) from error
    return True


def _read(descriptor: int) -> str:
    """Who holds the lock, in words."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = json.loads(os.read(descriptor, 4096))
        return f"process {int(holder['pid'])} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
