"""Antimony to SBML and back, hostile text, and tellurium objects with their users' changes."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kinetics.antimony import from_tellurium, in_step, looks_like_antimony, to_antimony, to_sbml, to_tellurium
from kinetics.errors import InputError, InvalidModel

SBML = "{http://www.sbml.org/sbml/level3/version2/core}"
DECAY = """
model decay()
  compartment cell; cell = 2
  species S in cell, P in cell, $B in cell
  loss: S -> P; cell * k * S
  k = 0.5; scale = 3 * k
  S = 2 * scale; P = 1; B = 4
end
"""


def _values(sbml: str) -> dict[str, float]:
    """Initial values in the document by id; initial assignments are not evaluated."""
    found = {}
    for element in ElementTree.fromstring(sbml).iter():
        for key in ("value", "size", "initialConcentration", "initialAmount"):
            if key in element.attrib:
                found[element.attrib["id"]] = float(element.attrib[key])
    return found


def _assigned(sbml: str) -> set[str]:
    return {e.attrib["symbol"] for e in ElementTree.fromstring(sbml).iter(f"{SBML}initialAssignment")}


# ---- translation -----------------------------------------------------------------------------------


def test_translation_is_level_3_version_2_with_the_values_written():
    root = ElementTree.fromstring(to_sbml(DECAY))
    assert (root.attrib["level"], root.attrib["version"]) == ("3", "2")
    assert _values(to_sbml(DECAY)) == {"cell": 2.0, "P": 1.0, "B": 4.0, "k": 0.5}
    assert _assigned(to_sbml(DECAY)) == {"S", "scale"}


def test_there_and_back_is_the_same_model():
    sbml = to_sbml(DECAY)
    again = to_sbml(to_antimony(sbml))
    assert _values(again) == _values(sbml)
    assert _assigned(again) == _assigned(sbml)
    assert in_step(to_antimony(sbml), again) == []


def test_submodels_are_flattened():
    text = "model a()\n S -> P; k*S\n k = 1; S = 2\nend\nmodel *b()\n A: a(); B: a()\n A.P is B.S\nend\n"
    assert set(re.findall(r'species id="(\w+)"', to_sbml(text))) == {"A_S", "B_S", "B_P"}
    assert "submodel" not in to_sbml(text)


def test_models_of_one_call_are_unknown_to_the_next():
    to_sbml("model first()\n S -> P; k*S\n k = 1; S = 2\nend\n")
    with pytest.raises(InvalidModel):
        to_sbml("model second()\n A: first()\nend\n")


def test_threads_do_not_mix_their_models():
    """libAntimony has one global table of models; without the lock, ids of one text end up in another."""
    results: dict[int, str] = {}

    def translate(number: int) -> None:
        for _ in range(20):
            results[number] = to_sbml(f"model m{number}()\n S{number} -> ; k*S{number}\n k = 1; S{number} = 1\nend")

    threads = [threading.Thread(target=translate, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(set(re.findall(r'species id="(\w+)"', results[n])) == {f"S{n}"} for n in range(4))


@pytest.mark.parametrize(
    ("text", "line"),
    [("S1 -> S2; k*S1\nk = 3; S1 -> ; ; ]", 2), ("x := 1\n\nhello world\n", 3), ("µ = 1", 1), ("x=1\n  @@\n", 2)],
)
def test_an_error_names_the_line(text, line):
    with pytest.raises(InvalidModel, match=rf"line {line}\b"):
        to_sbml(text)


def test_notes_in_any_script_are_kept():
    assert "3 µM – für é" in to_sbml('k = 1; k notes "3 µM – für é"')  # noqa: RUF001


# ---- text that must not be read --------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        'import "{}"\nA: q()\n',
        "import ```{}```\nA: q()\n",
        '\timport\t"{}"\n',
        'import/*c*/"{}"\n',
        'import \\\n "{}"\n',
        'import \\ \n "{}"\n',
        'x = 1; import "{}"\n',
        'x = 1;/* */import "{}"\n',
        '// comment \\\nimport "{}"\n',
        '// comment\rimport "{}"\n',
        'x = 1; x notes "a\\\n"; import "{}"\n',
        'x = 1; x notes ```a " ```\nimport "{}"\n',
        'x = 1; x notes "``` "\nimport "{}"\nx notes "```"\n',
        'model z()\nend import "{}"\n',
        '/***/import "{}"\n',
        '# comment\nimport "{}"\n',
    ],
)
def test_other_files_are_never_imported(statement, tmp_path):
    """Each of these makes libAntimony open the file (checked with 3.3); here it stays closed."""
    secret = tmp_path / "secret.ant"
    secret.write_text("model q()\n SECRET -> ; k*SECRET\n k = 1; SECRET = 1\nend\n")
    with pytest.raises(InvalidModel, match="import"):
        to_sbml(statement.format(secret))


def test_the_word_import_is_allowed_where_it_is_no_statement():
    text = (
        '// nuclear import\n/* import "x" */\n'
        'STAT_import: S -> N; k*S // import and export\nk = 1; S = 1; k notes "nuclear import"\n'
    )
    assert "STAT_import" in to_sbml(text)


def test_sbml_that_refers_to_other_files_is_refused():
    with pytest.raises(InvalidModel, match="another file"):
        to_antimony('<sbml><comp:externalModelDefinition comp:source="/etc/passwd"/></sbml>')
    with pytest.raises(InvalidModel, match="document type"):
        to_antimony('<!DOCTYPE x [<!ENTITY a "b">]><sbml/>')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("x = 1\0 import", "NUL"),
        ("x := " + "(" * 5000 + "1" + ")" * 5000, "nested"),
        ("x = y; y = x", "[Ll]oop"),
        ("k=1;" * 2_000_000, "at most"),
    ],
)
def test_broken_text_is_a_clean_error(text, message):
    with pytest.raises(InvalidModel, match=message):
        to_sbml(text)


def test_what_is_not_sbml_is_a_clean_error():
    for text in ("", "hello", "<sbml/>", "<a><b></a>"):
        with pytest.raises(InvalidModel):
            to_antimony(text)


# ---- what a text is --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["S1 -> S2; k*S1", DECAY, "x = 1", "// note\nx := 3", "model foo()", "species S1, S2;", "x' = -x"]
)
def test_antimony_is_recognised(text):
    assert looks_like_antimony(text)


@pytest.mark.parametrize(
    "text",
    [
        "il7_stat5_imatinib",
        "models/a.xml",
        "a.ant",
        "C:\\x\\y.xml",
        "<sbml/>",
        " \n<?xml version='1.0'?>",
        "",
        "a\nb c",
    ],
)
def test_names_paths_and_xml_are_not_antimony(text):
    assert not looks_like_antimony(text)


# ---- in step ---------------------------------------------------------------------------------------


def test_layout_of_the_xml_does_not_count():
    sbml = to_sbml(DECAY)
    assert in_step(DECAY, sbml) == []
    assert in_step(DECAY, re.sub(r"<!--.*?-->", "", sbml).replace("\n", "").replace("    ", " ")) == []
    assert in_step("// another comment\n" + DECAY, sbml) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("k = 0.5", "k = 0.6", "parameter k: value expected '0.6', got '0.5'"),
        ("cell * k * S", "cell * k * P", "text expected 'P', got 'S'"),
        ("S = 2 * scale", "S = 5", "species S: initialConcentration expected '5', got None"),
        ("P = 1; B = 4", "P = 1; B = 4; extra = 1", "parameter extra is missing"),
        ("loss:", "gone:", "reaction loss is not in the Antimony"),
    ],
)
def test_a_difference_is_told_with_its_place(old, new, told):
    assert old in DECAY
    assert any(told in line for line in in_step(DECAY.replace(old, new), to_sbml(DECAY)))


# ---- tellurium -------------------------------------------------------------------------------------


@pytest.fixture()
def loaded() -> Any:
    """The model in tellurium, with ``r.k = 5`` working whatever this process imported before."""
    tellurium = pytest.importorskip("tellurium")
    import roadrunner

    switch = roadrunner.Config.ROADRUNNER_DISABLE_PYTHON_DYNAMIC_PROPERTIES
    before = roadrunner.Config.getValue(switch)
    roadrunner.Config.setValue(switch, False)
    yield tellurium.loada(DECAY)
    roadrunner.Config.setValue(switch, before)


def test_an_untouched_object_gives_its_model(loaded):
    assert _values(from_tellurium(loaded)) == _values(to_sbml(DECAY))
    assert _assigned(from_tellurium(loaded)) == {"S", "scale"}


def test_changes_made_on_the_object_are_kept(loaded):
    loaded.k = 5
    loaded["[P]"] = 7.0
    loaded.B = 8
    taken = from_tellurium(loaded)
    assert _values(taken) == {"cell": 2.0, "P": 7.0, "B": 8.0, "k": 5.0}
    # what depends on k is evaluated again with the new k, which getCurrentSBML() would not do
    assert _assigned(taken) == {"S", "scale"}


def test_a_changed_target_loses_its_initial_assignment(loaded):
    loaded.scale = 9.0
    taken = from_tellurium(loaded)
    assert _assigned(taken) == {"S"}
    assert _values(taken)["scale"] == 9.0


def test_the_end_of_a_simulation_is_not_taken_for_the_start(loaded):
    loaded.k = 5
    loaded.simulate(0, 10, 3)
    assert loaded["[P]"] == pytest.approx(4.0, rel=1e-6)  # P0 + S0: everything has decayed by now
    taken = from_tellurium(loaded)
    assert _values(taken)["P"] == 1.0
    assert _values(taken)["k"] == 5.0
    assert "S" in _assigned(taken)


def test_an_initial_value_set_on_the_object_is_kept_after_a_simulation(loaded):
    loaded.model["init([P])"] = 6.0
    loaded.simulate(0, 10, 3)
    assert _values(from_tellurium(loaded))["P"] == pytest.approx(6.0, rel=1e-12)


def test_a_new_volume_keeps_the_amounts_as_reset_does(loaded):
    loaded["cell"] = 4.0
    loaded.simulate(0, 10, 3)
    taken = _values(from_tellurium(loaded))
    loaded.reset()
    assert taken["cell"] == 4.0
    assert taken["P"] == pytest.approx(loaded["[P]"], rel=1e-12)
    assert taken["P"] == pytest.approx(0.5, rel=1e-12)  # 2 units of substance in twice the volume


def test_parameters_moved_by_events_are_results():
    tellurium = pytest.importorskip("tellurium")
    runner = tellurium.loada("S -> ; k*S; S = 1; k = 1; q = 0; q' = 2; at time > 5: k = 0")
    runner.simulate(0, 10, 3)
    assert runner["k"] == 0.0
    assert runner["q"] > 0.0
    assert _values(from_tellurium(runner)) == {"default_compartment": 1.0, "S": 1.0, "k": 1.0, "q": 0.0}


def test_changes_count_where_roadrunner_does_not_hear_of_them():
    """With dynamic properties off, ``r.k = 5`` is a Python attribute; the user meant the parameter."""
    roadrunner = pytest.importorskip("roadrunner")
    switch = roadrunner.Config.ROADRUNNER_DISABLE_PYTHON_DYNAMIC_PROPERTIES
    before = roadrunner.Config.getValue(switch)
    roadrunner.Config.setValue(switch, True)
    try:
        runner = roadrunner.RoadRunner(to_sbml(DECAY))
        runner.k = 5
        runner.P = 7.0
    finally:
        roadrunner.Config.setValue(switch, before)
    assert runner["k"] == 0.5
    taken = _values(from_tellurium(runner))
    assert (taken["k"], taken["P"]) == (5.0, 7.0)


def test_taking_a_model_leaves_the_object_alone(loaded):
    loaded.k = 5
    before = (loaded.getCurrentTime(), loaded["k"], loaded["[S]"])
    from_tellurium(loaded)
    assert (loaded.getCurrentTime(), loaded["k"], loaded["[S]"]) == before


def test_values_that_are_no_numbers_are_refused(loaded):
    loaded["k"] = float("nan")
    with pytest.raises(InvalidModel, match="'k'"):
        from_tellurium(loaded)


def test_only_simulators_can_be_taken():
    with pytest.raises(InputError, match="got dict"):
        from_tellurium({})


def test_a_tellurium_object_runs_the_same_model():
    pytest.importorskip("tellurium")
    runner = to_tellurium(to_sbml(DECAY))
    end = runner.simulate(0, 2, 2, ["time", "[S]"])[-1, 1]
    assert end == pytest.approx(3.0 * 2.718281828459045**-1.0, rel=1e-4)  # S0 exp(-k t), default tolerance
    with pytest.raises(InvalidModel):
        to_tellurium("<sbml/>")


def test_only_this_module_imports_the_libraries():
    """ARCHITECTURE: each engine has one room."""
    root = Path(__file__).parents[1]
    importers = {
        file.relative_to(root).as_posix()
        for package in ("kinetics", "fits")
        for file in (root / package).rglob("*.py")
        if re.search(r"^\s*(?:import|from) (?:antimony|tellurium)\b", file.read_text(encoding="utf-8"), re.M)
    }
    assert importers == {"kinetics/antimony.py"}
