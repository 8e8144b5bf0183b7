"""Where the files of a PEtab problem lie and how they are opened: nothing outside the folder, nothing too large.

They are taken to be hostile; every error names the file and says what to write instead.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from kinetics.errors import InputError, ModelNotFound

MOST_YAML = 1_000_000  # bytes
MOST_ALIASES = 20  # of a YAML file: a few are handy, many are a bomb
MOST_DEPTH = 20


@dataclass(frozen=True)
class Folder:
    """The folder of a PEtab problem; the files it names lie inside it or are refused."""

    path: Path
    origin: str  # name of the YAML file, for messages

    def file(self, location: object, what: str) -> Path:
        """The file that a YAML entry names.

        Raises:
            InputError: the entry is no text, or names something outside the folder.
            ModelNotFound: there is no such file.
        """
        where = f"{self.origin}: {what}"
        if not isinstance(location, str) or not location.strip():
            raise InputError(f"{where}: expected the name of a file beside the YAML file, got {location!r}")
        if "\0" in location or len(location) > 1000:
            raise InputError(f"{where}: expected the name of a file, got {location[:40]!r}")
        posix, windows = PurePosixPath(location), PureWindowsPath(location)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", location):
            raise InputError(f"{where}: {location!r} is a URL; download the file beside the YAML file and name that")
        if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
            raise InputError(f"{where}: {location!r} is an absolute path; name the file relative to the YAML file")
        if ".." in posix.parts or ".." in windows.parts:
            raise InputError(f"{where}: {location!r} leads out of the folder of the YAML file; put the file inside it")
        path = self.path / location
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError):  # links that lead to each other
            raise InputError(f"{where}: {location!r} cannot be resolved") from None
        if not resolved.is_relative_to(self.path.resolve()):
            raise InputError(f"{where}: {location!r} is a link that leads out of the folder; put a copy there instead")
        if not resolved.exists():
            present = sorted(item.name for item in self.path.iterdir() if item.is_file())
            hint = f"; the folder has {', '.join(present[:12])}" if present else ""
            raise ModelNotFound(f"{where}: there is no file {location!r}{hint}")
        return resolved


def read_text(path: Path, limit: int, name: str = "") -> str:
    """UTF-8 text of a regular file of at most ``limit`` bytes.

    Raises:
        ModelNotFound: there is no such file.
        InputError: it is no regular file, too large, or not text.
    """
    name = name or path.name
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: the name holds a NUL
        raise ModelNotFound(f"there is no file {name!r}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name}: expected a file, got {'a folder' if stat.S_ISDIR(status.st_mode) else 'a device'}")
    if status.st_size > limit:
        raise InputError(f"{name}: expected at most {limit:,} bytes, got {status.st_size:,}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {os.strerror(error.errno or 0)}") from None
    if b"\0" in data:
        raise InputError(f"{name}: expected UTF-8 text, got binary data (or UTF-16: save it as UTF-8)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{name}, line {line}: not UTF-8 text; save it as UTF-8") from None


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A YAML mapping, through the safe loader, with limits on size, depth and aliases.

    Raises:
        ModelNotFound, InputError: there is no such file, or it is no such mapping.
    """
    import yaml

    text = read_text(path, MOST_YAML)
    depth = aliases = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                depth += 1
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                depth -= 1
            aliases += isinstance(event, yaml.AliasEvent)
            if depth > MOST_DEPTH or aliases > MOST_ALIASES:
                raise InputError(
                    f"{path.name}: more than {MOST_DEPTH} levels or {MOST_ALIASES} aliases; "
                    "the YAML file of a PEtab problem needs neither"
                )
        content = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        raise InputError(f"{path.name}{line}: not YAML: {what}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{path.name}: not YAML that can be read: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path.name}: expected a mapping such as 'format_version: 2.0.0', got {_kind(content)}")
    return content


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader; a key given twice is a mistake and not an update."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.value.__hash__ and key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                seen.add(key.value if key.value.__hash__ else id(key))
            return super().construct_mapping(node, deep)

    return Loader


def _kind(content: object) -> str:
    if content is None:
        return "nothing"
    return "a list" if isinstance(content, list) else repr(content)[:40]


def locations(entries: object, origin: str, what: str) -> list[object]:
    """A YAML entry that may be left out, one file or a list of files."""
    if entries is None:
        return []
    if isinstance(entries, str):
        return [entries]
    if not isinstance(entries, list):
        raise InputError(f"{origin}: {what}: expected a list of files, got {entries!r:.60}")
    return entries
