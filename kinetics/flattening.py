"""Models made of submodels (SBML package ``comp``) become one flat model.

libRoadRunner silently loses submodels of a model it gets as text, and libSBML opens any file that an
external model definition names.  So the files are found, checked and copied into a folder of their own
first; only then does libSBML put the pieces together.
"""

from __future__ import annotations

import posixpath
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinetics.circles import check_formulas
from kinetics.errors import InvalidModel
from kinetics.sbml_library import libsbml_module
from kinetics.xmlscan import MAX_BYTES, Scan, load_text, scan_xml

MAX_FILES = 100  # that one model may be spread over
MAX_SUBMODELS = 10_000  # instances; two submodels per model, 20 models deep, would be a million
MAX_NESTING = 50  # models within models; libSBML recurses

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


def resolve_source(source: str, folder: Path | None, origin: str) -> Path:
    """The file an external model definition names, which must lie in the folder of the file naming it.

    Args:
        source: the ``comp:source`` attribute.
        folder: where the naming file lies; None for a model given as text.
        origin: what error messages call the naming file.

    Raises:
        InvalidModel: ``source`` is empty, a URL, absolute, or leads out of ``folder`` (also by a link).
    """
    if folder is None:
        raise InvalidModel(
            f"{origin}: names the external file {source!r}, which a model given as text cannot; "
            "load the model from its file"
        )
    rule = f"{origin}: expected an external file inside the folder of the model, got"
    if not source or "\0" in source:
        raise InvalidModel(f"{rule} {source!r}")
    if _SCHEME.match(source):
        raise InvalidModel(f"{rule} the URL or drive {source!r}")
    if "\\" in source:
        raise InvalidModel(f"{rule} {source!r}; write / for the folders of a path")
    if source.startswith("/"):
        raise InvalidModel(f"{rule} the absolute path {source!r}")
    inside = posixpath.normpath(source)
    if inside.split("/")[0] == "..":
        raise InvalidModel(f"{rule} {source!r}, which leads out of it")
    home = folder.resolve()
    try:
        path = (home / inside).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InvalidModel(f"{rule} {source!r}, which cannot be followed") from error
    if not path.is_relative_to(home):
        raise InvalidModel(f"{rule} {source!r}, a link that leads out of it")
    if not path.is_file():
        raise InvalidModel(f"{origin}: external file {source!r} not found in the folder of the model")
    return path


@dataclass
class _Piece:
    """One file of the model: its document, and the file behind each external definition in it."""

    origin: str
    document: Any  # libsbml.SBMLDocument
    externals: dict[str, tuple[Path, str]]  # id -> (file, model in it or "")


def flatten(scan: Scan, folder: Path | None, origin: str, path: Path | None = None) -> str:
    """One flat model out of a document with submodels.

    Args:
        scan: the document, which declares the package ``comp``.
        folder: where external files may lie; None when there is none.
        origin: what error messages call the document.
        path: the file of the document, to notice files that name each other in a circle.

    Returns:
        SBML text without submodels and without ``comp``.

    Raises:
        InvalidModel: external files break the rules of `resolve_source`, models contain each other or
            multiply beyond all bounds, or libSBML cannot put them together.
    """
    libsbml = libsbml_module()

    main = path.resolve() if path is not None else Path()
    pieces = _collect(scan, folder, origin, main)
    _check_nesting(pieces, main)

    if len(pieces) == 1:
        return _merge(libsbml, pieces[main].document, origin, {})
    with tempfile.TemporaryDirectory(prefix="kinetics-") as sealed:
        # libSBML looks for a relative name in the working directory first.  Names that nobody can
        # have put there make sure that it reads these copies, which are the files that were checked.
        token = secrets.token_hex(8)
        names = {file: f"{token}-{i}.xml" for i, file in enumerate(pieces)}
        for file, piece in pieces.items():
            plugin = piece.document.getPlugin("comp")
            for i in range(plugin.getNumExternalModelDefinitions() if plugin else 0):
                definition = plugin.getExternalModelDefinition(i)
                definition.setSource(names[piece.externals[definition.getId()][0]])
            text = libsbml.writeSBMLToString(piece.document)
            (Path(sealed) / names[file]).write_text(text, encoding="utf-8")
        document = libsbml.readSBMLFromFile(str(Path(sealed) / names[main]))
        shown = {names[file]: piece.origin for file, piece in pieces.items()}
        return _merge(libsbml, document, origin, shown)


def _collect(scan: Scan, folder: Path | None, origin: str, main: Path) -> dict[Path, _Piece]:
    """The document and all files it names, directly or through others, each read and checked once."""
    libsbml = libsbml_module()

    pieces: dict[Path, _Piece] = {}
    open_ones: list[tuple[Path, Scan, Path | None, str]] = [(main, scan, folder, origin)]
    size = 0
    while open_ones:
        file, scanned, home, name = open_ones.pop()
        if file in pieces:
            continue
        if len(pieces) >= MAX_FILES:
            raise InvalidModel(f"{origin}: expected a model of at most {MAX_FILES} files, got more")
        size += len(scanned.text)
        if size > MAX_BYTES:
            raise InvalidModel(f"{origin}: expected at most {MAX_BYTES:,} bytes in all external files, got more")
        document = libsbml.readSBMLFromString(scanned.text)
        if problems := describe_errors(document):
            raise InvalidModel(f"{name}: {problems}")
        if document.getModel() is None:
            raise InvalidModel(f"{name}: expected a <model> in the SBML, got none")
        piece = pieces[file] = _Piece(name, document, {})
        for model in _models(document):
            check_formulas(model, name)
        plugin = document.getPlugin("comp")
        for i in range(plugin.getNumExternalModelDefinitions() if plugin else 0):
            definition = plugin.getExternalModelDefinition(i)
            source = definition.getSource()
            target = resolve_source(source, home, name)
            piece.externals[definition.getId()] = target, definition.getModelRef()
            if target not in pieces:
                inner = f"{posixpath.normpath(source)} (external file of {name})"
                # Its own external files are looked for beside it, so never above the folder we started in.
                open_ones.append((target, scan_xml(load_text(target, inner), inner), target.parent, inner))
    return pieces


def _models(document: Any) -> list[Any]:
    """The model of a document and the model definitions beside it."""
    plugin = document.getPlugin("comp")
    definitions = range(plugin.getNumModelDefinitions() if plugin else 0)
    return [document.getModel(), *(plugin.getModelDefinition(i) for i in definitions)]


def describe_errors(document: Any, most: int = 5) -> str:
    """libSBML's complaints at severity ERROR or FATAL: where, about what; "" when there are none."""
    libsbml = libsbml_module()

    seen: list[str] = []
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() < libsbml.LIBSBML_SEV_ERROR or error.getCategory() in _unjudged():
            continue
        text = f"line {error.getLine()}: {message(error)} [libSBML {error.getErrorId()}]"
        if text not in seen:
            seen.append(text)
    more = f"; and {len(seen) - most} more" if len(seen) > most else ""
    return "; ".join(seen[:most]) + more


def _unjudged() -> tuple[int, int]:
    """Units become warnings; modelling practice is a matter of taste."""
    libsbml = libsbml_module()

    return libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, libsbml.LIBSBML_CAT_MODELING_PRACTICE


def message(error: Any) -> str:
    """What libSBML says, without the paragraph of the specification it quotes first."""
    text: str = error.getMessage()
    _, found, detail = text.partition("Reference:")
    detail = " ".join(detail.partition("\n")[2].split()).lstrip(".[") if found else ""
    short = error.getShortMessage().strip()
    whole = detail or " ".join(text.split())
    shown = f"{short}: {whole}" if short and not whole.startswith(short) else whole
    return shown if len(shown) <= 400 else shown[:397] + "..."


def _check_nesting(pieces: Mapping[Path, _Piece], main: Path) -> None:
    """Refuse models that contain themselves, and models that multiply until memory is gone."""
    parts: dict[tuple[Path, str], list[tuple[Path, str]]] = {}
    size: dict[tuple[Path, str], int] = {}
    own = {file: piece.document.getModel().getId() for file, piece in pieces.items()}
    for file, piece in pieces.items():
        for model in _models(piece.document):
            inner = model.getPlugin("comp")
            refs = [inner.getSubmodel(i).getModelRef() for i in range(inner.getNumSubmodels())] if inner else []
            parts[file, model.getId()] = [(file, ref) for ref in refs]
            size[file, model.getId()] = len(model.toSBML())
        for key, (target, ref) in piece.externals.items():
            parts[file, key] = [(target, ref or own[target])]
            size[file, key] = 0

    depth: dict[tuple[Path, str], int] = {}
    count: dict[tuple[Path, str], int] = {}
    total: dict[tuple[Path, str], int] = {}
    path: list[tuple[Path, str]] = []

    def visit(node: tuple[Path, str]) -> None:
        if node in depth or node not in parts:  # what refers to nothing is libSBML's to report
            return
        if node in path:
            circle = " -> ".join(repr(key) for _, key in [*path[path.index(node) :], node])
            raise InvalidModel(f"{pieces[node[0]].origin}: model contains itself: {circle}")
        if len(path) > MAX_NESTING:
            raise InvalidModel(f"{pieces[main].origin}: expected submodels nested at most {MAX_NESTING} deep")
        path.append(node)
        for part in parts[node]:
            visit(part)
        path.pop()
        depth[node] = 1 + max((depth.get(part, 0) for part in parts[node]), default=0)
        count[node] = 1 + sum(count.get(part, 0) for part in parts[node])
        total[node] = size[node] + sum(total.get(part, 0) for part in parts[node])

    start = (main, own[main])
    for node in list(parts):  # also definitions nobody uses: libSBML validates them all the same
        visit(node)
    name = pieces[main].origin
    if depth[start] > MAX_NESTING:
        raise InvalidModel(f"{name}: expected submodels nested at most {MAX_NESTING} deep, got {depth[start]}")
    if max(count.values()) > MAX_SUBMODELS:
        raise InvalidModel(f"{name}: expected at most {MAX_SUBMODELS:,} submodels, got {max(count.values()):,}")
    if max(total.values()) > MAX_BYTES:
        raise InvalidModel(
            f"{name}: expected at most {MAX_BYTES:,} characters after flattening, got {max(total.values()):,}"
        )


def _merge(libsbml: Any, document: Any, origin: str, shown: Mapping[str, str]) -> str:
    """Let libSBML flatten a checked document; ``shown`` maps names of copies to those of the originals."""

    def complain(text: str) -> InvalidModel:
        for copy, original in shown.items():
            text = text.replace(copy, original)
        return InvalidModel(f"{origin}: {text}")

    for category in _unjudged():
        document.setConsistencyChecks(category, False)
    document.checkConsistency()
    if problems := describe_errors(document):
        raise complain(problems)
    options = libsbml.ConversionProperties()
    options.addOption("flatten comp", True)
    options.addOption("leavePorts", False)
    options.addOption("performValidation", False)  # done above, with our choice of categories
    options.addOption("abortIfUnflattenable", "requiredOnly")
    if document.convert(options) != libsbml.LIBSBML_OPERATION_SUCCESS:
        raise complain(f"submodels cannot be put together: {describe_errors(document) or 'libSBML gives no reason'}")
    model = document.getModel()
    plugin = model.getPlugin("comp") if model is not None else None
    if plugin is not None and plugin.getNumSubmodels():
        left = ", ".join(repr(plugin.getSubmodel(i).getId()) for i in range(plugin.getNumSubmodels()))
        raise complain(f"submodels are left after flattening: {left}")
    text: str = libsbml.writeSBMLToString(document)
    if "comp" in scan_xml(text, origin).packages:
        raise complain("the package comp is left after flattening")
    return text
