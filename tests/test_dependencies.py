"""Which results need which missing values, argued by hand for one construct of SBML at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from sbml_text import (
    MASS_ACTION,
    call,
    compartment,
    conversion,
    document,
    event,
    function,
    many,
    name,
    number,
    parameters,
    rate,
    reaction,
    rule,
    species,
    start,
    symbol_call,
)

from kinetics.dependencies import dependencies, missing_behind
from kinetics.errors import InvalidModel
from kinetics.validation import read_sbml

NONE: frozenset[str] = frozenset()


def test_a_complete_model_needs_nothing() -> None:
    text = document(*conversion())
    assert missing_behind(text, ["A", "[B]", "amount(B)", "k", "c", "J"]) == NONE


def test_a_species_needs_what_its_rate_needs() -> None:
    text = document(*conversion(k=None, unused=None))
    assert read_sbml(text).missing == {"k", "unused"}
    for wanted in ("A", "B", "[B]", "amount(A)", "J", "k"):
        assert missing_behind(text, [wanted]) == {"k"}
    assert missing_behind(text, ["c"]) == NONE
    assert missing_behind(text, ["unused", "c"]) == {"unused"}
    assert missing_behind(text, []) == NONE


def test_what_is_asked_for_and_unknown_needs_nothing() -> None:
    assert missing_behind(document(*conversion(k=None)), ["time", "nosuch"]) == NONE


def test_chains_of_rules_and_functions() -> None:
    text = document(
        many("FunctionDefinitions", function("f", call("plus", name("x"), number(1)), "x")),
        parameters(p=None, q=None, r=None, s=1.0),
        many("InitialAssignments", start("q", call("f()", name("p")))),
        many("Rules", rule("r", call("times", name("q"), name("s")))),
    )
    assert missing_behind(text, ["r"]) == {"p"}
    assert missing_behind(text, ["s"]) == NONE


def test_an_initial_assignment_and_a_rule_give_a_value_but_a_rate_rule_does_not() -> None:
    text = document(
        parameters(p=None, q=None, r=None),
        many("InitialAssignments", start("p", number(1))),
        many("Rules", rule("q", number(1)), rate("r", number(1))),
    )
    assert read_sbml(text).missing == {"r"}
    assert missing_behind(text, ["p", "q"]) == NONE
    assert missing_behind(text, ["r"]) == {"r"}


def test_a_rate_rule_needs_what_it_names() -> None:
    text = document(parameters(p=1.0, q=None), many("Rules", rate("p", name("q"))))
    assert missing_behind(text, ["p"]) == {"q"}


def test_rate_of_needs_the_rate() -> None:
    text = document(
        *conversion(k=None, p=None)[:3], many("Rules", rule("p", symbol_call("rateOf", name("A")))), *conversion()[3:]
    )
    assert missing_behind(text, ["p"]) == {"k"}


@pytest.mark.parametrize("where", ["assignment", "trigger"])
def test_events_need_what_they_name(where: str) -> None:
    formula = name("q") if where == "assignment" else number(1)
    trigger = call("gt", name("q"), number(1)) if where == "trigger" else "<true/>"
    text = document(parameters(p=1.0, q=None, r=1.0), many("Events", event("p", formula, trigger)))
    assert missing_behind(text, ["p"]) == {"q"}
    assert missing_behind(text, ["r"]) == NONE


# --- kinetic laws and stoichiometries ------------------------------------------------------------------------


def test_a_reaction_without_a_law() -> None:
    text = document(*conversion(None))
    assert read_sbml(text).missing == {"J"}
    assert missing_behind(text, ["A"]) == missing_behind(text, ["J"]) == {"J"}
    assert missing_behind(text, ["k", "c"]) == NONE


def test_a_boundary_species_does_not_need_the_law() -> None:
    text = document(compartment(), species("A", "B", boundary=True), many("Reactions", reaction("J", "A", "B", None)))
    assert missing_behind(text, ["A", "B"]) == NONE


def test_a_species_with_a_rule_does_not_need_the_law() -> None:
    text = document(
        compartment(),
        species("A", "B", boundary=True),
        many("Rules", rule("A", number(1))),
        many("Reactions", reaction("J", "A", "B", None)),
    )
    assert missing_behind(text, ["A"]) == NONE


def test_local_parameters_hide_global_ones() -> None:
    local = '<listOfLocalParameters><localParameter id="k" value="1"/></listOfLocalParameters>'
    text = document(*conversion(k=None)[:3], many("Reactions", reaction("J", "A", "B", MASS_ACTION, local=local)))
    assert missing_behind(text, ["A"]) == NONE
    without = text.replace('<localParameter id="k" value="1"/>', '<localParameter id="k"/>')
    assert missing_behind(without, ["A"]) == {"J.k"}


def test_a_stoichiometry_has_no_default_in_level_3() -> None:
    text = document(*conversion()[:3], many("Reactions", reaction("J", "A", "B", MASS_ACTION, stoichiometry="")))
    assert missing_behind(text, ["A"]) == {"J.A"}
    assert missing_behind(text, ["B"]) == {"J.A", "J.B"}  # the law names A
    named = text.replace('<speciesReference species="A"', '<speciesReference id="n" species="A"')
    assert missing_behind(named, ["A"]) == {"n"}
    given = named.replace("<listOfReactions>", many("InitialAssignments", start("n", number(2))) + "<listOfReactions>")
    assert missing_behind(given, ["A"]) == NONE


def test_a_conversion_factor_without_a_value() -> None:
    text = document(*conversion(k=1.0, f=None)).replace('<model id="m">', '<model id="m" conversionFactor="f">')
    text = text.replace('<parameter id="f" constant="false"', '<parameter id="f" constant="true"')
    assert missing_behind(text, ["A"]) == {"f"}


# --- amounts, concentrations and the size of the compartment --------------------------------------------------

DECAY = many("Reactions", reaction("J", "A", "B", name("k")))


def sized(given: str, *rest: str, amount: bool = False, dimensions: int = 3) -> str:
    return document(
        compartment(None, dimensions=dimensions),
        species("A", "B", given=given, amount=amount),
        parameters(k=1.0),
        *rest,
    )


@pytest.mark.parametrize(
    ("given", "amount", "reacts", "needy"),
    [
        # nothing happens: what is given is known, the other quantity needs the size
        ("initialConcentration", False, False, {"amount(A)"}),
        ("initialAmount", False, False, {"A", "[A]"}),
        ("initialAmount", True, False, {"[A]"}),
        ("initialConcentration", True, False, {"A", "amount(A)"}),
        # a reaction of constant rate changes the amount
        ("initialAmount", True, True, {"[A]"}),
        ("initialAmount", False, True, {"A", "[A]"}),
        ("initialConcentration", False, True, {"A", "[A]", "amount(A)"}),
        ("initialConcentration", True, True, {"A", "[A]", "amount(A)"}),
    ],
)
def test_when_a_size_is_needed(given: str, amount: bool, reacts: bool, needy: set[str]) -> None:
    text = sized(f'{given}="1"', *([DECAY] if reacts else []), amount=amount)
    for wanted in ("A", "[A]", "amount(A)"):
        assert missing_behind(text, [wanted]) == ({"c"} if wanted in needy else NONE), wanted
    assert missing_behind(text, ["c"]) == {"c"}


def test_a_law_with_concentrations_needs_the_size_even_for_amounts() -> None:
    text = sized('initialAmount="1"', many("Reactions", reaction("J", "A", "B", name("A"))))
    assert missing_behind(text, ["amount(B)"]) == {"c"}


def test_a_compartment_without_dimensions_needs_no_size() -> None:
    text = sized('initialAmount="1"', DECAY, dimensions=0)
    assert read_sbml(text).missing == NONE
    assert missing_behind(text, ["A", "amount(A)"]) == NONE


def test_a_volume_left_out_is_1_in_level_1_and_missing_in_level_2() -> None:
    body = (
        '<listOfCompartments><compartment {key}="c"/></listOfCompartments><listOfSpecies>'
        '<species {key}="S" compartment="c" initialAmount="2"/></listOfSpecies></model></sbml>'
    )
    first = '<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model>' + body.format(key="name")
    second = '<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model>' + body.format(
        key="id"
    )
    assert missing_behind(first, ["[S]"]) == NONE
    assert missing_behind(second, ["[S]"]) == {"c"}
    assert missing_behind(second, ["amount(S)"]) == NONE


@pytest.mark.parametrize("wanted", ["A", "[A]", "amount(A)", "B"])
def test_a_species_without_a_value(wanted: str) -> None:
    text = document(
        compartment(),
        species("A", given="").replace("</listOfSpecies>", species("B")[len("<listOfSpecies>") :]),
        *conversion()[2:],
    )
    assert read_sbml(text).missing == {"A"}
    assert missing_behind(text, [wanted]) == {"A"}


def test_an_event_on_a_species_reaches_all_its_quantities() -> None:
    text = document(compartment(), species("A"), parameters(q=None), many("Events", event("A", name("q"))))
    for wanted in ("A", "[A]", "amount(A)"):
        assert missing_behind(text, [wanted]) == {"q"}


# --- the mapping ------------------------------------------------------------------------------------------------


def test_dependencies_are_one_step() -> None:
    graph = dependencies(document(*conversion()))
    assert graph["J"] == {"c", "k", "A"}
    assert graph["A"] == {"[A]"}
    assert "J" in graph["amount(A)"] and "k" not in graph["amount(A)"]


def test_something_else_than_sbml() -> None:
    with pytest.raises(InvalidModel):
        missing_behind("<html/>", ["A"])


def test_long_chains_do_not_exhaust_the_stack() -> None:
    each = [rate(f"p{i}", name(f"p{i - 1}")) for i in range(1, 3_000)]
    text = document(parameters(p0=None, **{f"p{i}": 0.0 for i in range(1, 3_000)}), many("Rules", *each))
    assert missing_behind(text, ["p2999"]) == {"p0"}


def test_no_result_of_the_suite_needs_a_missing_value(shared: Path) -> None:
    """Every case has expected numbers, so each value that is left out is given another way."""
    checked = 0
    for folder in sorted((shared / "suites" / "sbml").iterdir()):
        lines = (folder / f"{folder.name}-settings.txt").read_text(encoding="utf-8").splitlines()
        settings = dict(line.split(":", 1) for line in lines if ":" in line)
        wanted, amounts, concentrations = (
            [word.strip() for word in settings.get(key, "").split(",") if word.strip()]
            for key in ("variables", "amount", "concentration")
        )
        names = [f"amount({w})" if w in amounts else f"[{w}]" if w in concentrations else w for w in wanted]
        try:
            sbml = read_sbml(next(folder.glob(f"{folder.name}-sbml-*.xml"))).sbml
        except Exception as error:  # what cannot be simulated is the subject of test_validation
            assert type(error).__name__ == "UnsupportedModel", folder.name
            continue
        assert missing_behind(sbml, names) == NONE, folder.name
        checked += 1
    assert checked == 273
