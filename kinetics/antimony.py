"""Antimony, the readable way to write SBML: translation both ways, and exchange with tellurium objects.

The only module that imports antimony and tellurium, and it does so when a function is called:
tellurium takes seconds to import and only `to_tellurium` needs it.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.dom import minidom
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from kinetics.errors import InputError, InvalidModel

_MAX_CHARACTERS = 5_000_000
_MAX_NESTING = 500  # Antimony's own parser gives up near 2,500; its output grows with the square

# A statement `import "file"` reads any file of the machine and quotes it in its error message.  It
# can stand at the start of a line or after ';', the end of a comment, ')' or the 'end' of a model,
# and a comment or a continued line may precede its file name.  The pattern errs on the safe side:
# it needs no idea of where strings and comments end, which Antimony's own lexer decides.
_IMPORT = re.compile(r"""(?:\A|[\n\r;\\)/]|\bend)[ \t]*import[\s\\]*["`/]""")

_ERROR_LINE = re.compile(r"^Error in (?:model string|file '[^']*'), line (\d+):\s*(.*)$", re.DOTALL)

# libAntimony keeps every model it has read in one global table.
_lock = threading.RLock()


def to_sbml(antimony_text: str) -> str:
    """Translate Antimony to SBML (Level 3 Version 2, submodels flattened).

    Args:
        antimony_text: one or more models; the last one, or the one marked with ``*``, is translated.

    Returns:
        The SBML document. Whether it makes sense is for `kinetics.validation` to say.

    Raises:
        InvalidModel: the text is not Antimony (the message gives the line), or it imports another
            file, which is refused whatever the file.
    """
    _refuse_hostile_text(antimony_text)
    with _antimony() as antimony:
        if antimony.loadAntimonyString(antimony_text) < 0:
            raise InvalidModel(_explain(_last_error(antimony)))
        module = antimony.getMainModuleName()
        sbml = antimony.getSBMLString(module)
    if not sbml:
        raise InvalidModel(f"Antimony model {module!r} has no SBML translation")
    return str(sbml)


def to_antimony(sbml: str) -> str:
    """Translate an SBML document to Antimony, for people to read.

    Antimony cannot say everything SBML can (constraints, layout and other packages are dropped).

    Raises:
        InvalidModel: not SBML, or SBML that refers to other files or declares a document type.
    """
    if "<!DOCTYPE" in sbml or "<!ENTITY" in sbml:
        raise InvalidModel("SBML with a document type declaration is refused")
    if "externalModelDefinition" in sbml:  # libAntimony would read the file named there
        raise InvalidModel("SBML that refers to another file is refused; flatten the model first")
    with _antimony() as antimony:
        if antimony.loadSBMLString(sbml) < 0:
            raise InvalidModel(f"no Antimony can be made of this SBML: {_last_error(antimony)}")
        return str(antimony.getAntimonyString(antimony.getMainModuleName()))


def looks_like_antimony(text: str) -> bool:
    """Whether a text is rather Antimony than SBML, a file name or the name of a model.

    A guess by form alone: some statement of Antimony (a reaction, an assignment, a declaration or
    the head of a model) has to be there.  It does not say that the text can be translated.
    """
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        return False
    return _STATEMENT.search(_COMMENT.sub(" ", text)) is not None


_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_STATEMENT = re.compile(
    r"""
    (?:^|;)\s*
    (?: (?:model|module|function)\s+\*?\s*\w+ (?:\s*\(|\s*$)        # head of a model or function
      | (?:species|compartment|var|const|unit|reaction)\s+\$?\w+ \s* (?:,|;|=|\bin\b|$)
      | (?:\w+\s*:)? [\w$.\s+]* (?:->|=>) [\w$.\s+]* ;              # a reaction
      | \w+ \s* '? \s* :? = [^=]                                    # an assignment or a rule
      | at \s .* :                                                  # an event
    )""",
    re.VERBOSE | re.MULTILINE,
)


def in_step(antimony_text: str, sbml: str) -> list[str]:
    """Say where an SBML document differs from the translation of an Antimony text.

    XML comments, white space between elements and the order of attributes do not count.

    Returns:
        One line per difference, each with the place in the document; empty when in step.

    Raises:
        InvalidModel: the Antimony cannot be translated, or the SBML is not well-formed XML.
    """
    try:
        found = ElementTree.fromstring(sbml.encode("utf-8"))
    except ElementTree.ParseError as error:
        raise InvalidModel(f"the SBML is not well-formed XML: {error}") from error
    expected = ElementTree.fromstring(to_sbml(antimony_text).encode("utf-8"))
    return list(_differences(expected, found, _label(expected)))


def from_tellurium(runner: Any) -> str:
    """Take the SBML of a tellurium or libRoadRunner object, with the changes its user made.

    What is set on such an object (``r.k1 = 5``) is not in its ``getSBML()``, and its
    ``getCurrentSBML()`` freezes initial assignments and takes the end of the last simulation for the
    start of the next.  So the loaded SBML is taken, and what differs from it is written in:

    - parameters and compartment volumes: their present value. A parameter that a rate rule moves or
      an event sets is left as loaded once time has passed, because its value is a result by then;
    - species: at time 0 their present value, later the one that ``reset()`` returns to. So
      ``r.S1 = 5`` counts before ``r.simulate(...)``; afterwards it cannot be told from a result;
    - an initial assignment gives way to a value only where its own target was changed: otherwise it
      is evaluated again with the new parameters.

    Raises:
        InputError: the object cannot give its SBML.
        InvalidModel: a changed value is not finite, or the SBML cannot be read back.
    """
    if not all(hasattr(runner, name) for name in ("getSBML", "getCurrentTime", "model")):
        raise InputError(f"expected a tellurium or roadrunner object, got {type(runner).__name__}")
    sbml = str(runner.getSBML())
    try:
        document = minidom.parseString(sbml.encode("utf-8"))
    except ExpatError as error:
        raise InvalidModel(f"the object's SBML is not well-formed XML: {error}") from error
    untouched = type(runner)(sbml)  # what the same model holds before anybody changes it
    for name, attribute, value in _changes(runner, untouched, document):
        if not math.isfinite(value):
            raise InvalidModel(f"{name!r} was set to {value} on the {type(runner).__name__} object")
        _write_value(document, name, attribute, value)
    return str(document.toxml(encoding="UTF-8").decode("utf-8"))


def to_tellurium(sbml: str) -> Any:
    """Make a tellurium object of an SBML document, for those who want to go on there.

    Raises:
        InvalidModel: tellurium refuses the model.
    """
    import tellurium

    try:
        return tellurium.loadSBMLModel(sbml)
    except Exception as error:  # tellurium raises whatever the engine does
        raise InvalidModel(f"tellurium cannot load this model: {error}") from error


# ---- the library -----------------------------------------------------------------------------------


@contextmanager
def _antimony() -> Iterator[Any]:
    """The antimony library, empty before and after: models of one call are invisible to the next."""
    import antimony

    with _lock:
        antimony.clearPreviousLoads()
        try:
            yield antimony
        finally:
            antimony.clearPreviousLoads()
            antimony.freeAll()


def _last_error(antimony: Any) -> str:
    try:
        return str(antimony.getLastError()).strip()
    except UnicodeDecodeError as error:  # the library quotes one byte of a longer character
        return bytes(error.object).decode("utf-8", errors="replace").strip()


def _explain(message: str) -> str:
    found = _ERROR_LINE.match(message)
    if found is None:
        return f"not valid Antimony: {message}"
    return f"not valid Antimony, line {found[1]}: {found[2].strip()}"


def _refuse_hostile_text(text: str) -> None:
    if not text.strip():
        raise InvalidModel("the Antimony text is empty")
    if len(text) > _MAX_CHARACTERS:
        raise InvalidModel(f"Antimony text of {len(text)} characters, expected at most {_MAX_CHARACTERS}")
    if "\0" in text:  # the library would silently stop reading there
        raise InvalidModel("the Antimony text contains a NUL character")
    found = _IMPORT.search(text)
    if found is not None:
        line = text.count("\n", 0, found.end()) + 1
        raise InvalidModel(
            f"not accepted, Antimony line {line}: 'import' of another file; put all models into one text"
        )
    depth = 0
    for bracket in re.finditer(r"[()]", text):
        depth = depth + 1 if bracket[0] == "(" else max(depth - 1, 0)
        if depth > _MAX_NESTING:
            line = text.count("\n", 0, bracket.start()) + 1
            raise InvalidModel(f"Antimony line {line}: more than {_MAX_NESTING} nested parentheses")


# ---- comparing documents ---------------------------------------------------------------------------


def _label(element: ElementTree.Element) -> str:
    """An element as a reader would name it: ``species IL7`` rather than its place in a list."""
    tag = element.tag.rpartition("}")[2]
    for key in ("id", "variable", "symbol", "species"):
        if key in element.attrib:
            return f"{tag} {element.attrib[key]}"
    return tag


def _differences(expected: ElementTree.Element, found: ElementTree.Element, path: str) -> Iterator[str]:
    if expected.tag != found.tag:
        yield f"{path}: expected <{_label(expected)}>, got <{_label(found)}>"
        return
    for key in sorted({*expected.attrib, *found.attrib}):
        want, got = expected.attrib.get(key), found.attrib.get(key)
        if want != got:
            yield f"{path}: {key.rpartition('}')[2]} expected {want!r}, got {got!r}"
    want, got = " ".join((expected.text or "").split()), " ".join((found.text or "").split())
    if want != got:
        yield f"{path}: text expected {want!r}, got {got!r}"
    wanted, present = list(expected), list(found)
    labels, seen = [_label(child) for child in wanted], [_label(child) for child in present]
    if labels != seen:
        missing = [label for label in labels if label not in seen]
        extra = [label for label in seen if label not in labels]
        yield from (f"{path}: {label} is missing" for label in missing)
        yield from (f"{path}: {label} is not in the Antimony" for label in extra)
        if not missing and not extra:
            yield f"{path}: expected the order {', '.join(labels)}, got {', '.join(seen)}"
        return
    for child, other in zip(wanted, present, strict=True):
        yield from _differences(child, other, f"{path} / {_label(child)}")


# ---- what a user changed on an object --------------------------------------------------------------


def _changes(runner: Any, untouched: Any, document: minidom.Document) -> Iterator[tuple[str, str, float]]:
    """Yield each symbol that was set after loading, the attribute it belongs to, and its value."""
    started = float(runner.getCurrentTime()) != 0.0
    results = _attributes(document, "assignmentRule", "variable")  # values nobody can set
    if started:
        results |= _attributes(document, "rateRule", "variable")
        results |= _attributes(document, "eventAssignment", "variable")
    as_loaded = {key: float(untouched[key]) for key in _species_keys(document).values()}
    changed = set()
    for kind, attribute in (("GlobalParameter", "value"), ("Compartment", "size")):
        for name in getattr(runner.model, f"get{kind}Ids")():
            value = _attribute(runner, name, float(runner[name]))
            if name not in results and not _same(value, float(untouched[name])):
                untouched[name] = value
                changed.add(name)
                yield name, attribute, value
    untouched.reset()  # evaluates the initial assignments of species with the new parameters
    floating = set(runner.model.getFloatingSpeciesIds())
    for name, key in _species_keys(document).items():
        if name in results:
            continue
        compartment = _element(document, "species", name).getAttribute("compartment")
        if not started or name not in floating:  # reset() leaves species that are held where they are
            value = float(runner[key])
        elif compartment in changed and key != name:  # reset() restores amounts
            value = float(runner.model[f"init({name})"]) / float(runner[compartment])
        else:
            value = float(runner.model[f"init({key})"])
        volume = float(runner[compartment]) if key == name else 1.0
        value = _attribute(runner, name, value / volume) * volume
        if compartment in changed or not (_same(value, as_loaded[key]) or _same(value, float(untouched[key]))):
            yield name, "initialAmount" if key == name else "initialConcentration", value


def _attribute(runner: Any, name: str, value: float) -> float:
    """A value, unless ``runner.name = ...`` made a plain Python attribute of that name instead.

    That happens to species (in concentration) and parameters alike where roadrunner's dynamic
    properties are switched off, and the model never hears of it.
    """
    shadow = vars(runner).get(name)
    return float(shadow) if isinstance(shadow, int | float) else value


def _species_keys(document: minidom.Document) -> dict[str, str]:
    """How the engine is asked for each species: ``S`` is an amount, ``[S]`` a concentration."""
    keys = {}
    for element in document.getElementsByTagName("species"):
        amount = element.hasAttribute("initialAmount")
        amount = amount or element.getAttribute("hasOnlySubstanceUnits") == "true"
        name = element.getAttribute("id")
        keys[name] = name if amount else f"[{name}]"
    return keys


def _element(document: minidom.Document, tag: str, name: str) -> minidom.Element:
    found = [e for e in document.getElementsByTagName(tag) if e.getAttribute("id") == name]
    return found[0]


def _same(value: float, loaded: float) -> bool:
    return value == loaded or (math.isnan(value) and math.isnan(loaded))


def _attributes(document: minidom.Document, tag: str, attribute: str) -> set[str]:
    return {element.getAttribute(attribute) for element in document.getElementsByTagName(tag)}


def _write_value(document: minidom.Document, name: str, attribute: str, value: float) -> None:
    tag = {"value": "parameter", "size": "compartment"}.get(attribute, "species")
    _element(document, tag, name).setAttribute(attribute, repr(value))
    for element in list(document.getElementsByTagName("initialAssignment")):
        if element.getAttribute("symbol") == name and element.parentNode is not None:
            element.parentNode.removeChild(element)
