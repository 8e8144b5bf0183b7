"""Where a result comes from: versions, command, platform.  No user name, no absolute path."""

from __future__ import annotations

import contextlib
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

# From the beginning of a path (at the start of the word or after a separator) to the last slash within it.
_PLACE = re.compile(r"""(?:^|(?<=[=:,;\s"']))(?:[A-Za-z]:[\\/]|[\\/]|~)(?:[^=,;"']*[\\/])?""")
PACKAGES = ("cytokine-kinetics", "libroadrunner", "python-libsbml", "numpy", "scipy", "pandas")


@dataclass(frozen=True)
class Provenance:
    """What a reader needs to repeat a computation."""

    versions: dict[str, str]  # by package; "python" too; packages that are not installed are left out
    platform: str  # "Linux x86_64"
    command: tuple[str, ...]
    created: str  # UTC

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "command": list(self.command)}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Provenance:
        return cls(**{**document, "command": tuple(document["command"])})


def versions() -> dict[str, str]:
    """By package, what this process computes with; "python" too."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def collect(command: Sequence[str] | None = None) -> Provenance:
    """The provenance of what this process computes now; ``command`` instead of the process's own."""
    words = tuple(without_place(word) for word in (sys.argv if command is None else command))
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Provenance(versions(), f"{platform.system()} {platform.machine()}", words, created)


def without_place(word: str) -> str:
    """A word of a command line with every absolute path cut down to its last name.

    >>> without_place("--store=/home/me/fit.sqlite"), without_place("problems/boehm")
    ('--store=fit.sqlite', 'problems/boehm')
    """
    return _PLACE.sub("", word)
