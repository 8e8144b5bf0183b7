"""What is refused before the engine sees it, each rule provoked by a text that breaks nothing else."""

from __future__ import annotations

import codecs
import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sbml_text import (
    COMP,
    algebraic,
    call,
    compartment,
    composed,
    conversion,
    definition,
    document,
    event,
    external,
    function,
    many,
    math,
    name,
    number,
    parameters,
    rate,
    reaction,
    rule,
    species,
    start,
    submodels,
    symbol_call,
)

from kinetics import flattening, xmlscan
from kinetics.errors import InvalidModel, KineticsError, ModelError, ModelNotFound, UnsupportedModel
from kinetics.validation import read_sbml, unit_report

GOOD = document(*conversion())


def refused(text: str, error: type[ModelError] = InvalidModel) -> str:
    """The message with which a text is refused."""
    with pytest.raises(error) as caught:
        read_sbml(text)
    return str(caught.value)


# --- reading -------------------------------------------------------------------------------------------------


def test_text_and_file_give_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "conversion.xml"
    path.write_text(GOOD, encoding="utf-8")

    from_text, from_file = read_sbml(GOOD), read_sbml(path)

    assert from_text.sbml == from_file.sbml == read_sbml(str(path)).sbml
    assert (from_text.origin, from_file.origin) == ("text", "conversion.xml")  # never the folder
    assert from_text.name == "m"
    assert from_text.missing == frozenset()


def test_name_falls_back_to_the_name_and_then_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "stem.xml"
    path.write_text(GOOD.replace('<model id="m">', "<model>"), encoding="utf-8")
    assert read_sbml(path).name == "stem"
    path.write_text(GOOD.replace('<model id="m">', '<model name="long name">'), encoding="utf-8")
    assert read_sbml(path).name == "long name"
    assert read_sbml(GOOD.replace('<model id="m">', "<model>")).name == "model"


@pytest.mark.parametrize("before", ["", "\ufeff", "\n\n  ", "\ufeff\n"])
def test_text_may_start_with_a_mark_or_blank_lines(before: str) -> None:
    assert read_sbml(before + GOOD).name == "m"


@pytest.mark.parametrize(
    ("codec", "declared"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("latin-1", "ISO-8859-1"),
        ("cp1252", "windows-1252"),
    ],
)
def test_encodings_of_files(tmp_path: Path, codec: str, declared: str) -> None:
    text = GOOD.replace('<model id="m">', '<model id="m" name="µmol">').replace("UTF-8", declared)
    (tmp_path / "model.xml").write_bytes(text.encode(codec))
    assert "µmol" in read_sbml(tmp_path / "model.xml").sbml


@pytest.mark.parametrize(("level", "version"), [(1, 2), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 1), (3, 2)])
def test_every_level_and_version_is_read(level: int, version: int) -> None:
    """Written with libSBML, which knows each level's spelling."""
    import libsbml

    source = libsbml.readSBMLFromString(document(*conversion()))
    assert source.setLevelAndVersion(level, version, False)
    checked = read_sbml(libsbml.writeSBMLToString(source))
    assert f'level="{level}" version="{version}"' in checked.sbml
    assert checked.missing == frozenset()


def test_level_1_version_1_is_read() -> None:
    """The first SBML of all: species are <specie>, formulas are text, a volume left out is 1."""
    text = (
        '<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="1"><model name="first">'
        '<listOfCompartments><compartment name="c"/></listOfCompartments><listOfSpecies>'
        '<specie name="S" compartment="c" initialAmount="1"/></listOfSpecies><listOfReactions><reaction name="J">'
        '<listOfReactants><specieReference specie="S"/></listOfReactants><kineticLaw formula="k * S">'
        '<listOfParameters><parameter name="k" value="1"/></listOfParameters></kineticLaw></reaction>'
        "</listOfReactions></model></sbml>"
    )
    checked = read_sbml(text)
    assert (checked.name, checked.missing) == ("first", frozenset())


def test_missing_file_folder_and_device(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.xml", tmp_path, "nul\0name"):
        with pytest.raises(ModelNotFound, match="expected an SBML file"):
            read_sbml(path)
    with pytest.raises(FileNotFoundError):  # the exception of the standard library, too
        read_sbml(tmp_path / "absent.xml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.xml")
    with pytest.raises(ModelNotFound, match="neither a file nor a folder"):
        read_sbml(tmp_path / "pipe.xml")


@pytest.mark.parametrize("source", ["model m()\n A -> B; k*A\nend", "", "  "])
def test_a_string_that_is_neither_path_nor_sbml(source: str) -> None:
    assert "starting with <" in refused(source)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty file"),
        (b" \n\t", "empty file"),
        (gzip.compress(GOOD.encode()), "gzip"),
        (b"PK\x03\x04" + b"\0" * 40, "zip archive"),
        (b"BZh91AY&SY", "bzip2"),
        (b"%PDF-1.7", "PDF"),
        (bytes(range(128, 256)), "expected text in utf-8"),
        (GOOD.replace("m", "\u00b5", 1).encode("latin-1"), "expected text in utf-8"),
        (codecs.BOM_UTF32_LE + GOOD.encode("utf-32-le"), "UTF-32"),
        (GOOD.replace("UTF-8", "utf-7").encode(), "encodings"),
        (GOOD.replace("UTF-8", "EBCDIC-CP-US").encode(), "encodings"),
        (GOOD.encode("utf-16")[:-1], "expected text in utf-16"),
        (b"\0" * 100, "broken XML"),
        (b"just some words", "broken XML"),
    ],
)
def test_files_that_are_no_sbml_text(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "model.xml").write_bytes(data)
    with pytest.raises(InvalidModel, match=why) as caught:
        read_sbml(tmp_path / "model.xml")
    assert "model.xml" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)  # a message may end up in a report


@pytest.mark.parametrize("keep", [30, 100, len(GOOD) // 2, len(GOOD) - 3])
def test_truncated_text(keep: int) -> None:
    assert "cut off" in refused(GOOD[:keep])


def test_broken_xml_names_the_line() -> None:
    lines = GOOD.splitlines()
    lines.insert(3, "<oops>")
    assert "line" in refused("\n".join(lines))


@pytest.mark.parametrize(
    "text", ["<html><body/></html>", '<model xmlns="http://www.cellml.org/cellml/1.0#"/>', "<sbml/>"]
)
def test_xml_that_is_not_sbml(text: str) -> None:
    assert "not SBML" in refused(text)


@pytest.mark.parametrize(("level", "version"), [(4, 1), (3, 3), (2, 6), (0, 1)])
def test_unknown_level_or_version(level: int, version: int) -> None:
    message = refused(GOOD.replace('level="3" version="2"', f'level="{level}" version="{version}"'))
    assert f"level {level} version {version}" in message and "L3V2" in message


def test_level_that_contradicts_the_namespace() -> None:
    assert "'level'" in refused(GOOD.replace('level="3" version="2"', 'level="2" version="4"'))


def test_document_without_a_model() -> None:
    assert "<model>" in refused('<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"/>')


# --- hostile XML ---------------------------------------------------------------------------------------------

LAUGHS = '<!DOCTYPE sbml [<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{i} "{10 * f"&a{i - 1};"}">'  # each ten times the one before
    for i in range(1, 12)
)


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE sbml>",
        LAUGHS + "]>",
        '<!DOCTYPE sbml SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE sbml [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    ],
    ids=["empty", "billion laughs", "external subset", "external entity"],
)
def test_document_types_are_refused_at_once(doctype: str) -> None:
    began = time.perf_counter()
    assert "DOCTYPE" in refused(GOOD.replace("?>\n", f"?>\n{doctype}\n", 1))
    assert time.perf_counter() - began < 1.0  # ten thousand million laughs would take longer


def nested(depth: int) -> str:
    return "<apply><plus/><cn>1</cn>" * depth + "<cn>1</cn>" + "</apply>" * depth


def test_nesting_is_bounded() -> None:
    """The engine's stack overflows from a few thousand levels on; 400 are more than a formula needs."""
    assert read_sbml(document(parameters(p=None), many("Rules", rule("p", nested(400))))).name == "m"
    for depth in (xmlscan.MAX_DEPTH, 100_000):
        message = refused(document(parameters(p=None), many("Rules", rule("p", nested(depth)))))
        assert f"at most {xmlscan.MAX_DEPTH}" in message
    deep = "<notes>" + "<p>" * 1_000_000
    assert "nested" in refused(GOOD.replace("<model", deep + "<model"))


def test_operands_are_bounded() -> None:
    """A sum of n terms becomes n - 1 nested sums in the engine, which crashes at 5000."""

    def wide(terms: int) -> str:
        return document(parameters(p=None), many("Rules", rule("p", call("plus", *[number(1)] * terms))))

    assert read_sbml(wide(1_900)).name == "m"
    for terms in (5_000, 200_000):
        assert "operands" in refused(wide(terms))


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xmlscan, "MAX_BYTES", 1_000)
    assert "at most 1,000 bytes" in refused(GOOD + " " * 1_000)
    with open(tmp_path / "big.xml", "wb") as stream:
        stream.truncate(10 * xmlscan.MAX_BYTES)
    with pytest.raises(InvalidModel, match="at most 100 bytes"):
        xmlscan.load_text(tmp_path / "big.xml", "big.xml", limit=100)


def test_lone_surrogates_are_no_text() -> None:
    assert "surrogate" in refused(GOOD.replace('id="m"', 'id="\ud800"'))


# --- SBML without a meaning ----------------------------------------------------------------------------------

TWO = compartment(), species("A", "B"), parameters(k=1.0, p=None)
LAW = name("k")

BROKEN = {
    "two reactions of one id": (
        document(*TWO, many("Reactions", reaction("J", "A", "B", LAW), reaction("J", "B", "A", LAW))),
        ["'J'"],
    ),
    "parameter and species of one id": (document(compartment(), species("A"), parameters(A=1.0)), ["'A'"]),
    "two parameters of one id": (
        document(many("Parameters", *['<parameter id="p" value="1" constant="true"/>'] * 2)),
        ["'p'"],
    ),
    "undefined species in a reaction": (
        document(*TWO, many("Reactions", reaction("J", "A", "Z", LAW))),
        ["'Z'", "'J'"],
    ),
    "undefined symbol in a law": (
        document(*TWO, many("Reactions", reaction("J", "A", "B", name("nosuch")))),
        ["'nosuch'"],
    ),
    "undefined symbol in a rule": (document(*TWO, many("Rules", rule("p", name("nosuch")))), ["'nosuch'"]),
    "undefined symbol in an initial assignment": (
        document(*TWO, many("InitialAssignments", start("p", name("nosuch")))),
        ["'nosuch'"],
    ),
    "undefined function": (document(*TWO, many("Rules", rule("p", call("nosuch()", number(1))))), ["'nosuch'"]),
    "function of too many arguments": (
        document(
            many("FunctionDefinitions", function("f", name("x"), "x")),
            parameters(p=None),
            many("Rules", rule("p", call("f()", number(1), number(2)))),
        ),
        ["'f'"],
    ),
    "function with a symbol of the model": (
        document(many("FunctionDefinitions", function("f", name("k"), "x")), parameters(k=1.0)),
        ["'f'", "'k'"],
    ),
    "rule for nothing": (document(many("Rules", rule("nosuch", number(1)))), ["'nosuch'"]),
    "initial assignment for nothing": (document(many("InitialAssignments", start("nosuch", number(1)))), ["'nosuch'"]),
    "event that sets nothing": (document(parameters(p=1.0), many("Events", event("nosuch", number(1)))), ["'nosuch'"]),
    "two rules for one parameter": (
        document(parameters(p=None), many("Rules", rule("p", number(1)), rule("p", number(2)))),
        ["'p'"],
    ),
    "two initial assignments for one parameter": (
        document(parameters(p=None), many("InitialAssignments", start("p", number(1)), start("p", number(2)))),
        ["'p'"],
    ),
    "rule and initial assignment": (
        document(
            parameters(p=None), many("InitialAssignments", start("p", number(1))), many("Rules", rule("p", number(2)))
        ),
        ["'p'"],
    ),
    "rule for a constant": (
        document(many("Parameters", '<parameter id="p" constant="true"/>'), many("Rules", rule("p", number(1)))),
        ["'p'"],
    ),
    "species in no compartment": (document(species("A")), ["compartment"]),
    "operator without its operand": (
        document(parameters(p=None), many("Rules", rule("p", call("divide", number(1))))),
        ["'p'"],
    ),
    "no id": (document(parameters(p=1.0)).replace('id="p"', ""), ["'id'"]),
    "id with a blank": (document(parameters(p=1.0)).replace('id="p"', 'id="p q"'), ["id"]),
    "no number": (document(parameters(p=1.0)).replace('"1.0"', '"one"'), ["line"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_sbml_without_a_meaning(case: str) -> None:
    text, named = BROKEN[case]
    message = refused(text)
    for word in named:
        assert word in message


def test_messages_are_few_and_say_where() -> None:
    laws = [reaction(f"J{i}", "A", f"Z{i}", LAW) for i in range(20)]
    message = refused(document(*TWO, many("Reactions", *laws)))
    assert message.count("line ") == 5
    assert "and 15 more" in message
    assert len(message) < 2_500


# --- circles -------------------------------------------------------------------------------------------------

FREE = parameters(p=None, q=None, r=None)
CIRCLES = {
    "initial assignments": document(FREE, many("InitialAssignments", start("p", name("q")), start("q", name("p")))),
    "initial assignment of itself": document(
        FREE, many("InitialAssignments", start("p", call("plus", name("p"), number(1))))
    ),
    "assignment rules": document(FREE, many("Rules", rule("p", name("q")), rule("q", name("r")), rule("r", name("p")))),
    "rule and initial assignment": document(
        FREE, many("InitialAssignments", start("q", name("p"))), many("Rules", rule("p", name("q")))
    ),
    "through a kinetic law": document(
        *conversion(name("k"), k=None),
    ).replace("<listOfReactions>", many("InitialAssignments", start("k", name("J"))) + "<listOfReactions>"),
    "kinetic law of itself": document(*conversion(name("J"))),
    "through a function": document(
        many("FunctionDefinitions", function("f", name("x"), "x")),
        FREE,
        many("Rules", rule("p", call("f()", name("q"))), rule("q", call("f()", name("p")))),
    ),
    "through a rate": document(FREE, many("Rules", rule("p", symbol_call("rateOf", name("q"))), rate("q", name("p")))),
    "through the rate of a species": document(
        *conversion(k=None)[:3],
        many("Rules", rule("k", symbol_call("rateOf", name("A")))),
        conversion()[3],
    ),
    "rate of itself": document(FREE, many("Rules", rate("p", symbol_call("rateOf", name("p"))))),
    "size of a compartment": document(
        compartment(None, constant=False),
        species("A", given='initialAmount="1"'),
        many("InitialAssignments", start("c", name("A"))),
    ),
    "functions of each other": document(
        many(
            "FunctionDefinitions",
            function("f", call("g()", name("x")), "x"),
            function("g", call("f()", name("x")), "x"),
        ),
        FREE,
    ),
    "function of itself": document(many("FunctionDefinitions", function("f", call("f()", name("x")), "x")), FREE),
}


@pytest.mark.parametrize("case", CIRCLES)
def test_circles_are_named(case: str) -> None:
    message = refused(CIRCLES[case])
    assert " -> " in message
    circle = message.rpartition(": ")[2].split(" -> ")
    assert circle[0] == circle[-1]


def test_circle_in_level_1(tmp_path: Path) -> None:
    """Level 1 demands an order of rules instead of forbidding circles."""
    text = (
        '<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="m">'
        '<listOfCompartments><compartment name="c"/></listOfCompartments>'
        '<listOfParameters><parameter name="p" value="1"/><parameter name="q" value="1"/></listOfParameters>'
        '<listOfRules><parameterRule name="p" formula="q"/><parameterRule name="q" formula="p"/></listOfRules>'
        "</model></sbml>"
    )
    assert "'p' -> 'q' -> 'p'" in refused(text) or "'q' -> 'p' -> 'q'" in refused(text)


def test_what_looks_like_a_circle_and_is_none() -> None:
    """A rate may name its own variable, a law what it changes, an event what it sets."""
    read_sbml(document(*conversion(), many("Events", event("k", call("plus", name("k"), number(1))))))
    read_sbml(document(parameters(p=1.0), many("Rules", rate("p", name("p")))))
    read_sbml(
        document(
            parameters(p=1.0, q=None), many("Rules", rate("p", number(1)), rule("q", symbol_call("rateOf", name("p"))))
        )
    )


# --- formulas that explode when they are written out ------------------------------------------------------------


def doubling(steps: int) -> str:
    each = [rule(f"p{i}", call("plus", name(f"p{i - 1}"), name(f"p{i - 1}"))) for i in range(1, steps)]
    return document(parameters(p0=1.0, **{f"p{i}": None for i in range(1, steps)}), many("Rules", *each))


def chain(steps: int, kind: str = "Rules") -> str:
    make = rule if kind == "Rules" else start
    each = [make(f"p{i}", call("plus", name(f"p{i - 1}"), number(1))) for i in range(1, steps)]
    return document(parameters(p0=1.0, **{f"p{i}": None for i in range(1, steps)}), many(kind, *each))


def functions(steps: int, how: str) -> str:
    """Functions f1, f2, ... of which each calls the one before: once, twice in a sum, or twice in a row."""

    def body(before: str) -> str:
        inner = call(before, name("x"))
        return {
            "once": call(before, call("plus", name("x"), number(1))),
            "sum": call("plus", inner, inner),
            "twice": call(before, inner),
        }[how]

    first = function("f0", call("plus", name("x"), name("x")), "x")
    others = [function(f"f{i}", body(f"f{i - 1}()"), "x") for i in range(1, steps)]
    return document(
        many("FunctionDefinitions", first, *others),
        parameters(p=1.0, q=None),
        many("Rules", rule("q", call(f"f{steps - 1}()", name("p")))),
    )


def deep_chain(steps: int) -> str:
    """Rules of 400 nested sums, each with the value of the one before at the bottom: 400 deep times steps."""
    deep = "<apply><plus/><cn>1</cn>" * 400 + "<ci>p{}</ci>" + "</apply>" * 400
    rules = [rule(f"p{i}", deep.format(i - 1)) for i in range(1, steps)]
    return document(parameters(p0=1.0, **{f"p{i}": None for i in range(1, steps)}), many("Rules", *rules))


@pytest.mark.parametrize(
    "text",
    [
        doubling(40),
        chain(2_000),
        chain(2_000, "InitialAssignments"),
        functions(40, "sum"),
        functions(8, "twice"),
        functions(100, "once"),
        deep_chain(12),
    ],
    ids=[
        "doubling rules",
        "chain of rules",
        "chain of initial assignments",
        "sums",
        "squares",
        "chain of functions",
        "depth",
    ],
)
def test_formulas_that_explode(text: str) -> None:
    """libSBML and the engine work on these for minutes, or until the stack overflows."""
    began = time.perf_counter()
    message = refused(text, UnsupportedModel)
    assert "at most" in message
    assert time.perf_counter() - began < 5.0  # 0.3 s where this was written


def test_long_but_reasonable_models_pass() -> None:
    assert read_sbml(doubling(10)).name == "m"  # 1 kB written out
    assert read_sbml(chain(60)).name == "m"
    assert read_sbml(functions(10, "sum")).name == "m"


@pytest.mark.parametrize(
    "text",
    [
        document(many("FunctionDefinitions", function("f", "<apply><root/></apply>")), parameters(p=1.0)),
        document(parameters(p=None), many("Rules", rule("p", call("plus", "<root/>", number(1))))),
        composed(
            submodels(("x", "inner")),
            definitions=definition("inner", parameters(p=None), many("Rules", rule("p", "<apply><apply/></apply>"))),
        ),
    ],
    ids=["in a function", "in a rule", "in a submodel"],
)
def test_operators_without_operands(text: str) -> None:
    """libSBML's own checks of units and of submodels crash on these."""
    with pytest.raises((InvalidModel, UnsupportedModel), match=r"operands|empty formula"):
        read_sbml(text)


# --- what the engine cannot simulate ----------------------------------------------------------------------------

DELAYED = symbol_call("delay", name("A"), number(1))
FAST = document(*conversion(), version=1).replace('id="J"', 'id="J" fast="true"')
UNSUPPORTED = {
    "algebraic rule": (
        document(compartment(), species("A", "B"), many("Rules", algebraic(call("minus", name("A"), name("B"))))),
        ["algebraic rule 0 = A - B"],
    ),
    "delay in a law": (document(*conversion(DELAYED)), ["delay()", "kinetic law of 'J'"]),
    "delay in a rule": (
        document(compartment(), species("A"), parameters(p=None), many("Rules", rule("p", DELAYED))),
        ["delay()", "rule of 'p'"],
    ),
    "delay in a trigger": (
        document(*conversion(), many("Events", event("k", number(1), call("gt", DELAYED, number(0))))),
        ["delay()", "trigger of event 'e'"],
    ),
    "fast reaction": (FAST, ["fast reaction 'J'"]),
    "empty formula": (document(parameters(p=None), many("Rules", rule("p", "<apply/>"))), ["'p'"]),
    "endless factorial": (
        document(parameters(p=None), many("Rules", rule("p", call("factorial", number(1e9))))),
        ["factorial", "'p'"],
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_constructs_the_engine_cannot_do(case: str) -> None:
    text, named = UNSUPPORTED[case]
    message = refused(text, UnsupportedModel)
    for word in named:
        assert word in message


@pytest.mark.parametrize("package", ["arrays", "distrib", "spatial", "qual", "multi", "dyn"])
def test_required_packages_are_refused_by_name(package: str) -> None:
    uri = f"http://www.sbml.org/sbml/level3/version1/{package}/version1"
    text = document(*conversion(), root=f'xmlns:x="{uri}" x:required="true"')
    message = refused(text, UnsupportedModel)
    assert repr(package) in message


def test_packages_that_change_nothing_are_allowed() -> None:
    uri = "http://www.sbml.org/sbml/level3/version1/fbc/version2"
    text = document(*conversion(), root=f'xmlns:fbc="{uri}" fbc:required="false"')
    text = text.replace('<model id="m">', '<model id="m" fbc:strict="false">')
    assert any("fbc" in warning for warning in read_sbml(text).warnings)


def test_delay_where_it_does_no_harm() -> None:
    """The engine ignores constraints; that it does is worth a warning."""
    limit = f"<constraint>{math(call('gt', DELAYED, number(0)))}</constraint>"
    warnings = read_sbml(document(compartment(), species("A"), many("Constraints", limit))).warnings
    assert any("constraints" in warning for warning in warnings)


# --- submodels ---------------------------------------------------------------------------------------------------

INNER = definition("inner", *conversion())


def write(folder: Path, **files: str) -> Path:
    for key, text in files.items():
        (folder / f"{key}.xml").write_text(text, encoding="utf-8")
    return folder / "main.xml"


def test_submodels_become_one_flat_model() -> None:
    checked = read_sbml(composed(submodels(("x", "inner"), ("y", "inner")), definitions=INNER))
    assert COMP not in checked.sbml and "submodel" not in checked.sbml
    for species_id in ("x__A", "x__B", "y__A", "y__B"):
        assert f'id="{species_id}"' in checked.sbml


def test_external_definitions_come_from_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from folders in it, and never from the working directory, where libSBML looks first."""
    (tmp_path / "models" / "parts").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    main = write(
        tmp_path / "models", main=composed(submodels(("x", "outer")), externals=external("outer", "parts/a.xml"))
    )
    write(
        tmp_path / "models" / "parts",
        a=composed(submodels(("deep", "b")), externals=external("b", "b.xml")),
        b=document(*conversion(k=0.25)),
    )
    write(tmp_path / "elsewhere", b=document(*conversion(k=666.0)))
    monkeypatch.chdir(tmp_path / "elsewhere")

    checked = read_sbml(main)

    assert 'id="x__deep__A"' in checked.sbml
    assert "0.25" in checked.sbml and "666" not in checked.sbml
    assert str(tmp_path) not in checked.sbml


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "../secret.xml",
        "parts/../../secret.xml",
        "file:///etc/passwd",
        "file:secret.xml",
        "http://127.0.0.1:9/model.xml",
        "urn:miriam:biomodels.db:BIOMD0000000093",
        "C:/secret.xml",
        "..\\secret.xml",
        "link.xml",
        "linked/secret.xml",
        "loop.xml",
        "absent.xml",
        "parts",
        "",
    ],
)
def test_external_definitions_stay_in_the_folder(tmp_path: Path, source: str) -> None:
    home = tmp_path / "models"
    (home / "parts").mkdir(parents=True)
    (tmp_path / "secret.xml").write_text(GOOD, encoding="utf-8")
    (home / "link.xml").symlink_to(tmp_path / "secret.xml")
    (home / "linked").symlink_to(tmp_path)
    (home / "loop.xml").symlink_to(home / "loop.xml")
    main = write(home, main=composed(submodels(("x", "e")), externals=external("e", source)))
    with pytest.raises(InvalidModel) as caught:
        read_sbml(main)
    assert "main.xml" in str(caught.value)
    assert repr(source) in str(caught.value)


def test_an_external_file_is_bound_to_its_own_folder(tmp_path: Path) -> None:
    """What lies inside the folder of the model may still lie outside that of the file which names it."""
    (tmp_path / "parts").mkdir()
    main = write(
        tmp_path,
        main=composed(submodels(("x", "e")), externals=external("e", "parts/a.xml")),
        other=document(*conversion()),
    )
    write(tmp_path / "parts", a=composed(submodels(("y", "o")), externals=external("o", "../other.xml")))
    with pytest.raises(InvalidModel, match=r"parts/a\.xml.*leads out"):
        read_sbml(main)


def test_text_has_no_folder() -> None:
    message = refused(composed(submodels(("x", "e")), externals=external("e", "a.xml")))
    assert "'a.xml'" in message and "text" in message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!DOCTYPE sbml>" + document().partition("?>")[2], "DOCTYPE"),
        ("<html/>", "not SBML"),
        ("", "empty"),
        (document(parameters(p=None), many("Rules", rule("p", nested(600)))), "nested"),
        (document(*TWO, many("Reactions", reaction("J", "A", "Z", LAW))), "'Z'"),
    ],
)
def test_external_files_are_checked_like_the_model(tmp_path: Path, text: str, why: str) -> None:
    main = write(tmp_path, main=composed(submodels(("x", "e")), externals=external("e", "a.xml")), a=text)
    with pytest.raises(InvalidModel, match=why) as caught:
        read_sbml(main)
    assert str(tmp_path) not in str(caught.value)


def test_external_files_may_require_no_other_package(tmp_path: Path) -> None:
    arrays = 'xmlns:x="http://www.sbml.org/sbml/level3/version1/arrays/version1" x:required="true"'
    inner = document(*conversion(), root=arrays)
    main = write(tmp_path, main=composed(submodels(("x", "e")), externals=external("e", "a.xml")), a=inner)
    with pytest.raises(UnsupportedModel, match="arrays"):
        read_sbml(main)


def test_files_that_name_each_other_in_a_circle(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        main=composed(submodels(("x", "e")), externals=external("e", "a.xml")),
        a=composed(submodels(("y", "f")), externals=external("f", "main.xml")),
    )
    with pytest.raises(InvalidModel, match="contains itself"):
        read_sbml(main)


def test_models_that_contain_each_other() -> None:
    pair = definition("a", submodels(("x", "b"))) + definition("b", submodels(("y", "a")))
    assert "contains itself: 'a' -> 'b' -> 'a'" in refused(composed(submodels(("s", "a")), definitions=pair))


def test_submodels_that_multiply() -> None:
    """Thirty models, each with two of the next, are a thousand million models."""
    tower = "".join(definition(f"d{i}", submodels(("x", f"d{i + 1}"), ("y", f"d{i + 1}"))) for i in range(30))
    text = composed(submodels(("s", "d0")), definitions=tower + definition("d30", parameters(p=1.0)))
    began = time.perf_counter()
    assert "submodels" in refused(text)
    assert time.perf_counter() - began < 5.0


def test_submodels_nested_without_end() -> None:
    tower = "".join(definition(f"d{i}", submodels(("x", f"d{i + 1}"))) for i in range(2_000))
    text = composed(submodels(("s", "d0")), definitions=tower + definition("d2000", parameters(p=1.0)))
    assert f"at most {flattening.MAX_NESTING} deep" in refused(text)


def test_submodel_of_a_model_that_is_not_there() -> None:
    assert "nosuch" in refused(composed(submodels(("x", "nosuch")), definitions=INNER))


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flattening, "MAX_FILES", 3)
    names = [f"a{i}" for i in range(4)]
    externals = "".join(external(key, f"{key}.xml") for key in names)
    parts = {key: document(*conversion()) for key in names}
    main = write(tmp_path, main=composed(submodels(("x", "a0")), externals=externals), **parts)
    with pytest.raises(InvalidModel, match="at most 3 files"):
        read_sbml(main)


def test_unsupported_constructs_inside_submodels() -> None:
    inner = definition("inner", *conversion(DELAYED))
    assert "kinetic law of 'x__J'" in refused(composed(submodels(("x", "inner")), definitions=inner), UnsupportedModel)


# --- units -------------------------------------------------------------------------------------------------------


def unit(key: str, *bases: tuple[str, int, int, float]) -> str:
    """A unit definition; each base is (kind, exponent, scale, multiplier)."""
    parts = "".join(
        f'<unit kind="{kind}" exponent="{exponent}" scale="{scale}" multiplier="{multiplier}"/>'
        for kind, exponent, scale, multiplier in bases
    )
    return f'<unitDefinition id="{key}"><listOfUnits>{parts}</listOfUnits></unitDefinition>'


OUR_UNITS = many(
    "UnitDefinitions",
    unit("nM", ("mole", 1, -21, 1), ("litre", -1, -12, 1)),
    unit("zmol", ("mole", 1, -21, 1)),
    unit("pL", ("litre", 1, -12, 1)),
    unit("minute", ("second", 1, 0, 60)),
    unit("per_minute", ("second", -1, 0, 60)),
)


def united(unit_of_k: str, law: str) -> str:
    text = document(OUR_UNITS, *conversion(law))
    text = text.replace(
        '<model id="m">', '<model id="m" substanceUnits="zmol" volumeUnits="pL" timeUnits="minute" extentUnits="zmol">'
    )
    text = text.replace('<compartment id="c"', '<compartment id="c" units="pL"')
    return text.replace('<parameter id="k"', f'<parameter id="k" units="{unit_of_k}"')


def test_consistent_units_report_nothing() -> None:
    text = united("per_minute", call("times", name("c"), name("k"), name("A")))
    assert unit_report(text) == ()
    assert read_sbml(text).warnings == ()


@pytest.mark.parametrize(
    ("unit", "law", "code"),
    [
        ("nM", call("times", name("c"), name("k"), name("A")), "10541"),  # a rate law of the wrong dimension
        ("per_minute", call("times", name("c"), name("k"), name("A"), number(2)), "99505"),  # 2 has no unit
        ("per_minute", call("times", name("k"), name("A")), "10541"),  # amounts per time, but for the volume
    ],
)
def test_wrong_units_are_reported_and_only_warned_of(unit: str, law: str, code: str) -> None:
    report = unit_report(united(unit, law))
    assert any(code in line for line in report)
    (warning,) = read_sbml(united(unit, law)).warnings
    assert warning.startswith("units") and f"{len(report)} places" in warning


def test_undeclared_units_are_reported() -> None:
    assert unit_report(GOOD) != ()


def test_unit_report_of_something_else() -> None:
    with pytest.raises(InvalidModel):
        unit_report("<html/>")


def test_units_of_very_long_formulas_are_left_alone() -> None:
    """libSBML takes over a minute for the units of a sum of 5000 terms."""
    wide = [rule(f"p{i}", call("plus", *[number(1)] * 1_500)) for i in range(3)]
    text = document(parameters(p0=None, p1=None, p2=None), many("Rules", *wide))
    began = time.perf_counter()
    warnings = read_sbml(text).warnings
    assert any("not checked" in warning for warning in warnings)
    assert time.perf_counter() - began < 5.0


# --- missing values ------------------------------------------------------------------------------------------------


def test_missing_values_are_listed_and_warned_of() -> None:
    checked = read_sbml(document(*conversion(k=None)))
    assert checked.missing == {"k"}
    assert "parameter 'k' has no value" in checked.warnings


@pytest.mark.parametrize("size", ["-1", "0"])
def test_a_size_that_is_not_positive_is_warned_of(size: str) -> None:
    assert f"compartment 'c' has size {size}, expected more than 0" in read_sbml(document(compartment(size))).warnings


def test_many_missing_values_are_summarised() -> None:
    checked = read_sbml(document(parameters(**{f"p{i}": None for i in range(20)})))
    assert len(checked.missing) == 20
    assert sum("no value" in warning for warning in checked.warnings) == 5
    assert "15 more values are missing" in checked.warnings


# --- what others made ------------------------------------------------------------------------------------------------


def suite_cases(shared: Path) -> list[Path]:
    folders = sorted((shared / "suites" / "sbml").iterdir())
    return [next(folder.glob(f"{folder.name}-sbml-*.xml")) for folder in folders]


def test_suite_cases_are_read_unless_the_engine_cannot_do_them(shared: Path) -> None:
    """Valid models all; libRoadRunner does 273 of the 299 and refuses 26 in clear words."""
    refusals = {}
    for path in suite_cases(shared):
        try:
            checked = read_sbml(path)
        except UnsupportedModel as error:
            refusals[path.parent.name] = str(error)
            continue
        assert "comp:" not in checked.sbml
    assert len(suite_cases(shared)) == 299
    assert len(refusals) == 26
    for message in refusals.values():
        assert "algebraic rule" in message or "delay()" in message or "fast reaction" in message


def test_refused_suite_cases_are_those_with_the_constructs(shared: Path) -> None:
    """Found another way: by the tags with which the suite describes its cases."""
    tagged, refusals = set(), set()
    for path in suite_cases(shared):
        words = (path.parent / f"{path.parent.name}-model.m").read_text(encoding="utf-8", errors="replace")
        tags = " ".join(line for line in words.splitlines() if "Tags:" in line)
        if any(tag in tags for tag in ("AlgebraicRule", "CSymbolDelay", "FastReaction")):
            tagged.add(path.parent.name)
        try:
            read_sbml(path)
        except UnsupportedModel:
            refusals.add(path.parent.name)
    assert refusals == tagged


def test_published_models_are_read(shared: Path) -> None:
    paths = [
        path for path in sorted((shared / "data" / "sbml_published").iterdir()) if path.suffix in (".xml", ".sbml")
    ]
    assert len(paths) >= 14
    for path in paths:
        assert read_sbml(path).missing == frozenset(), path.name


def test_reading_a_published_model_is_quick(shared: Path) -> None:
    path = shared / "data" / "sbml_published" / "BIOMD0000000347.xml"  # 78 kB
    read_sbml(path)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        read_sbml(path)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.3  # 0.03 s where this was written; the machine may be busy


def test_libsbml_is_imported_only_when_needed() -> None:
    code = "import sys, kinetics.validation; assert 'libsbml' not in sys.modules, 'imported too early'"
    # the package itself may import the engine, which brings its own libSBML, but not python-libsbml
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("cut", range(0, len(GOOD), 97))
def test_damaged_text_is_refused_in_our_own_words(cut: int) -> None:
    """Whatever is cut out of a model, the outcome is a model or one of our errors."""
    try:
        read_sbml(GOOD[:cut] + GOOD[cut + 13 :])
    except KineticsError:
        return
    assert len(GOOD[:cut] + GOOD[cut + 13 :]) < len(GOOD)
