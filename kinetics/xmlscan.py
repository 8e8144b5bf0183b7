"""What holds of an SBML file before any XML library builds something from it.

A file from elsewhere is first decoded here and streamed once through expat, which keeps no tree and
does not recurse.  That refuses document types (entities that expand without end), nesting that
overflows a parser's stack, foreign encodings and everything that is not SBML, and it finds out which
packages the document needs.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from kinetics.errors import InvalidModel, ModelNotFound, UnsupportedModel

MAX_BYTES = 50_000_000  # of one model with all the files it names; published models stay below 10 MB
MAX_DEPTH = 500  # nested elements; the engine's stack overflows from a few thousand on
MAX_OPERANDS = 2_000  # of one operator, for the same reason: a sum of n becomes n - 1 nested sums

LEVELS = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 1), (3, 2))
ENCODINGS = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii"}
ENCODINGS |= {"iso-8859-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16"}

_SBML = re.compile(r"http://www\.sbml\.org/sbml/level\d+(/version\d+(/core)?)?")
_PACKAGE = re.compile(r"http://www\.sbml\.org/sbml/level3/version\d+/(\w+)/version\d+")
_MATHML = "http://www.w3.org/1998/Math/MathML"
_DECLARATION = re.compile(r"<\?xml\s[^>]*?\?>")
_DECLARED_ENCODING = re.compile(rb"""^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([^"'>]*)["']""")
_MARKS = (  # what a file that is no text starts with, and what to say of it
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"PK\x03\x04", "a zip archive (COMBINE archives too); unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"%PDF", "a PDF document"),
    (b"\xff\xfe\x00\x00", "UTF-32 text; save it as UTF-8"),
    (b"\x00\x00\xfe\xff", "UTF-32 text; save it as UTF-8"),
)


@dataclass(frozen=True)
class Scan:
    """A document that may be handed to an XML library."""

    text: str  # the document; its XML declaration now says UTF-8, its line numbers are kept
    level: int
    version: int
    packages: frozenset[str]  # short names of the SBML packages declared, such as "comp"


def is_text(source: str) -> bool:
    """Whether a string is SBML itself and not the name of a file."""
    return source.lstrip("\ufeff \t\r\n").startswith("<")


def load_text(path: Path, origin: str, limit: int = MAX_BYTES) -> str:
    """Read and decode a file of at most ``limit`` bytes.

    Raises:
        ModelNotFound: there is no such file, or it is not a regular one.
        InvalidModel: it is empty, too large, not text, or in an encoding other than those of `ENCODINGS`.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: the name holds a NUL
        raise ModelNotFound(f"model file {origin!r} not found: expected an SBML file") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "neither a file nor a folder"
        raise ModelNotFound(f"model file {origin!r}: expected an SBML file, got {kind}")
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ModelNotFound(f"model file {origin!r} cannot be read: {reason}") from error
    if len(data) > limit:
        raise InvalidModel(f"{origin}: expected at most {limit:,} bytes, got {max(status.st_size, len(data)):,}")
    return _decode(data, origin)


def _decode(data: bytes, origin: str) -> str:
    if not data.strip():
        raise InvalidModel(f"{origin}: expected SBML, got an empty file")
    for mark, what in _MARKS:
        if data.startswith(mark):
            raise InvalidModel(f"{origin}: expected SBML text, got {what}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    else:
        declared = _DECLARED_ENCODING.match(data[:1000])
        name = declared[1].decode("ascii", "replace") if declared else "utf-8"
        # Two parsers that decode one file differently can be played against each other: decode here,
        # once, and hand on UTF-8.
        if name.lower() not in ENCODINGS:
            known = ", ".join(sorted(ENCODINGS))
            raise InvalidModel(f"{origin}: expected one of the encodings {known}, got {name!r}")
        encoding = ENCODINGS[name.lower()]
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidModel(
            f"{origin}: expected text in {encoding}, got byte 0x{data[min(error.start, len(data) - 1)]:02x} "
            f"at position {error.start}; the file is binary or in another encoding"
        ) from error


class _Scanner:
    """Handlers of expat that refuse what must not be parsed and remember the rest."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.depth = 0
        self._children = [0]  # of each open element, the document first
        self.level = self.version = 0
        self.packages: set[str] = set()
        self.required: set[str] = set()

    def doctype(self, name: str, *_: object) -> None:
        raise InvalidModel(
            f"{self.origin}: expected SBML without a document type, got <!DOCTYPE {name}>; "
            "entities can expand without end, so remove it"
        )

    def namespace(self, _prefix: str | None, uri: str | None) -> None:
        if match := _PACKAGE.fullmatch(uri or ""):
            if match[1] != "core":
                self.packages.add(match[1])

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidModel(f"{self.origin}: expected elements nested at most {MAX_DEPTH} deep, got more")
        self._children[-1] += 1
        self._children.append(0)
        namespace, _, name = tag.rpartition(" ")
        if self._children[-2] > MAX_OPERANDS and namespace == _MATHML:
            raise InvalidModel(f"{self.origin}: expected at most {MAX_OPERANDS:,} operands in a formula, got more")
        if self.depth == 1:
            self._root(namespace, name, attributes)

    def _root(self, namespace: str, name: str, attributes: dict[str, str]) -> None:
        if name != "sbml" or not _SBML.fullmatch(namespace):
            where = f" in namespace {namespace!r}" if namespace else ""
            raise InvalidModel(f"{self.origin}: not SBML; expected the root element <sbml>, got <{name}>{where}")
        got = attributes.get("level", "?"), attributes.get("version", "?")
        if got not in {(str(level), str(version)) for level, version in LEVELS}:
            known = ", ".join(f"L{level}V{version}" for level, version in LEVELS)
            raise InvalidModel(f"{self.origin}: expected SBML of {known}; got level {got[0]} version {got[1]}")
        self.level, self.version = int(got[0]), int(got[1])
        for key, value in attributes.items():
            package = _PACKAGE.fullmatch(key.rpartition(" ")[0])
            if package and key.endswith(" required") and value.strip() in ("true", "1"):
                self.required.add(package[1])

    def end(self, _tag: str) -> None:
        self.depth -= 1
        self._children.pop()


def scan_xml(text: str, origin: str) -> Scan:
    """Stream through a document once and say what it is; see the module docstring.

    Args:
        text: the document.
        origin: what error messages call it.

    Raises:
        InvalidModel: it is not XML, has a document type, is nested too deeply, or is not SBML of a known
            level and version.
        UnsupportedModel: a package other than ``comp`` is marked required: the model has no meaning without it.
    """
    body = text.lstrip("\ufeff")
    start = len(body) - len(body.lstrip())
    declaration = _DECLARATION.match(body, start)
    # Line numbers of error messages stay those of the file: the new declaration replaces the old in place.
    head, rest = body[:start], body[declaration.end() if declaration else start :]
    newlines = "\n" * (head.count("\n") + (declaration[0].count("\n") if declaration else 0))
    body = f'<?xml version="1.0" encoding="UTF-8"?>{newlines}{rest}'
    if not rest.strip():
        raise InvalidModel(f"{origin}: expected SBML, got an empty document")
    try:
        data = body.encode()
    except UnicodeEncodeError as error:
        raise InvalidModel(f"{origin}: expected Unicode text, got a lone surrogate") from error
    if len(data) > MAX_BYTES:
        raise InvalidModel(f"{origin}: expected at most {MAX_BYTES:,} bytes, got {len(data):,}")

    scanner = _Scanner(origin)
    parser = expat.ParserCreate("UTF-8", " ")
    parser.StartDoctypeDeclHandler = scanner.doctype
    parser.StartNamespaceDeclHandler = scanner.namespace
    parser.StartElementHandler = scanner.start
    parser.EndElementHandler = scanner.end
    try:
        for i in range(0, len(data), 1 << 16):  # in pieces, so that a refusal comes early
            parser.Parse(data[i : i + (1 << 16)], False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        what = expat.errors.messages[error.code]
        hint = "; the file is cut off or empty" if "no element" in what or "unclosed" in what else ""
        raise InvalidModel(f"{origin}: expected SBML, got broken XML: {what} at line {error.lineno}{hint}") from error
    if foreign := sorted(scanner.required - {"comp"}):
        raise UnsupportedModel(
            f"{origin}: the SBML package {', '.join(map(repr, foreign))} is marked as required, so the model "
            "means something else without it; only 'comp' can be simulated here"
        )
    return Scan(
        text=body,
        level=scanner.level,
        version=scanner.version,
        packages=frozenset(scanner.packages),
    )
