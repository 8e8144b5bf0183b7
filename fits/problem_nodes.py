"""Keys of a problem file, one after the other: what is expected where, and errors that say the place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinetics.errors import InputError, KineticsError, UnknownName

MOST_ITEMS = 1_000  # entries of a list or mapping in a problem file


@dataclass(frozen=True)
class Node:
    """A mapping in a problem file, and where it stands; every key must be known."""

    file: str
    path: str
    content: Mapping[str, Any]

    def where(self, key: str = "") -> str:
        full = ".".join(part for part in (self.path, key) if part)
        return f"{self.file}: {full}" if full else self.file

    def fault(self, key: str, expected: str, got: object) -> InputError:
        return InputError(f"{self.where(key)}: expected {expected}, got {shown(got)}")

    def known(self, *keys: str) -> None:
        for key in self.content:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(keys)}"
                raise InputError(f"{self.where()}: there is no key {key!r}; {hint}")

    def text(self, key: str, default: str | None = None, what: str = "text") -> str:
        value = self.content.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            raise self.fault(key, what, value)
        return " ".join(str(value).split())

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.content.get(key)
        if value is None:
            return ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(key, "text or a list of texts", value)
        return tuple(" ".join(item.split()) for item in value)

    def number(self, key: str, default: float | None = None) -> float:
        value = self.content.get(key)
        if value is None and default is not None:
            return default
        found = as_number(value)
        if found is None:
            raise self.fault(key, "a number", value)
        return found

    def node(self, key: str, default: Mapping[str, Any] | None = None) -> Node:
        value = self.content.get(key)
        if value is None and default is not None:
            value = default
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise self.fault(key, "a mapping of names", value)
        if len(value) > MOST_ITEMS:
            raise self.fault(key, f"at most {MOST_ITEMS} entries", f"{len(value)}")
        return Node(self.file, ".".join(part for part in (self.path, key) if part), value)

    def nodes(self, key: str) -> list[Node]:
        value = self.content.get(key)
        if value is None:
            return []
        if isinstance(value, Mapping):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise self.fault(key, "a list of mappings", value)
        if len(value) > MOST_ITEMS:
            raise self.fault(key, f"at most {MOST_ITEMS} entries", f"{len(value)}")
        path = ".".join(part for part in (self.path, key) if part)
        return [Node(self.file, f"{path}[{i}]", item) for i, item in enumerate(value)]

    def choice(self, key: str, among: Mapping[str, Any], default: str) -> Any:
        found = self.text(key, default)
        if found not in among:
            raise UnknownName(key, found, among, self.where())
        return among[found]

    def changes(self, key: str) -> dict[str, float | str]:
        """What is set: numbers in the model's units, or texts such as ``3 uM``."""
        found: dict[str, float | str] = {}
        for name, value in self.node(key, {}).content.items():
            number = as_number(value)
            if number is None and not isinstance(value, str):
                raise self.fault(f"{key}.{name}", "a number or text such as '3 uM'", value)
            found[name] = value if number is None else number
        return found

    def meaning(self, key: str, error: KineticsError) -> InputError:
        """An error that something further down raised, with the place in the file in front."""
        return InputError(f"{self.where(key)}: {error}")


def as_number(value: object) -> float | None:
    """A finite number; YAML reads ``1e6`` as text, so text that is a number counts."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def shown(value: object) -> str:
    """A value in a message."""
    return "nothing" if value is None else repr(value)[:60]


def merged(base: object, changes: object) -> object:
    """Mappings are merged key by key, anything else is replaced; null takes a key out."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    found = {key: value for key, value in base.items() if not (key in changes and changes[key] is None)}
    for key, value in changes.items():
        if value is not None:
            found[key] = merged(base.get(key), value)
    return found
