"""``read_petab``: from a PEtab problem on disk, version 1 or 2, to a `Problem`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fits.petab import v1, v2
from fits.petab.files import Folder, read_yaml
from fits.problem import Problem
from kinetics.errors import InputError, ModelNotFound


def read_petab(path: str | os.PathLike[str], *, trusted: bool = False) -> Problem:
    """Read a calibration problem from its YAML file, or from the folder that holds one.

    Nothing outside the folder of the YAML file is read, and nothing is downloaded.

    Args:
        path: the YAML file of a PEtab problem of version 1 or 2, or its folder.
        trusted: skip the trial of the models in a child process (about half a second each).

    Raises:
        ModelNotFound: a file is missing.
        InputError, UnknownName, FormulaError: the problem has no meaning; the message names file, line and column.
        InvalidModel, UnsupportedModel: a model is not SBML, or has what cannot be simulated here.
    """
    file = _problem_file(Path(path))
    content = read_yaml(file)
    folder = Folder(file.parent, file.name)
    name = _name(content.get("id") or content.get("problem_id") or file.stem)
    _check_extensions(content, file.name)
    if _major(content, file.name) == 1:
        return v1.read(content, folder, name, trusted=trusted)
    return v2.read(content, folder, name, trusted=trusted)


def _problem_file(path: Path) -> Path:
    try:
        if not path.is_dir():
            return path
        candidates = sorted(item for item in path.iterdir() if item.suffix in (".yaml", ".yml") and item.is_file())
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"no PEtab problem at {str(path)!r}: {error}") from None
    found = [item for item in candidates if _is_problem(item)]
    if len(found) != 1:
        names = ", ".join(item.name for item in found) or "none"
        raise InputError(
            f"{path.name}: expected a folder with one PEtab YAML file (with a format_version), found {names}; "
            "pass the YAML file itself"
        )
    return found[0]


def _is_problem(path: Path) -> bool:
    try:
        return "format_version" in read_yaml(path)
    except (InputError, ModelNotFound):
        return False


def _name(text: object) -> str:
    """An id made of what the file is called."""
    name = re.sub(r"\W", "_", str(text), flags=re.ASCII).strip("_") or "problem"
    return name if not name[0].isdigit() else f"problem_{name}"


def _major(content: Mapping[str, Any], origin: str) -> int:
    if "format_version" not in content:
        raise InputError(f"{origin}: expected 'format_version: 2.0.0' (or 1), got a file without format_version")
    version = str(content["format_version"])
    if version in ("1", "1.0", "1.0.0"):
        return 1
    if re.fullmatch(r"2(\.\d+)*", version):
        return 2
    raise InputError(f"{origin}: format_version {version!r} is not known here; versions 1 and 2.0.0 are read")


def _check_extensions(content: Mapping[str, Any], origin: str) -> None:
    """Refuse an extension without which the problem means something else."""
    extensions = content.get("extensions") or {}
    if isinstance(extensions, Mapping):
        items = list(extensions.items())
    elif isinstance(extensions, list):  # version 1 has a list of names, none of which changes the problem
        items = [(str(item), {}) for item in extensions]
    else:
        raise InputError(f"{origin}: extensions: expected a mapping of names to versions, got {extensions!r:.60}")
    for name, details in items:
        if isinstance(details, Mapping) and details.get("required"):
            raise InputError(
                f"{origin}: the problem requires the PEtab extension {name!r}, which is not supported here"
            )
