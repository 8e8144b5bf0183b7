"""Small SBML texts, written out piece by piece, so that each test breaks exactly one thing."""

from __future__ import annotations

MATHML = "http://www.w3.org/1998/Math/MathML"
COMP = "http://www.sbml.org/sbml/level3/version1/comp/version1"


def document(*body: str, level: int = 3, version: int = 2, root: str = "", after: str = "") -> str:
    """A document with one model ``m``; ``root`` are further attributes of <sbml>, ``after`` follows the model."""
    core = f"/version{version}/core" if level == 3 else f"/version{version}" if (level, version) > (2, 1) else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<sbml xmlns="http://www.sbml.org/sbml/level{level}{core}" '
        f'level="{level}" version="{version}" {root}>\n<model id="m">\n'
        + "\n".join(body)
        + f"\n</model>\n{after}</sbml>"
    )


def many(kind: str, *items: str) -> str:
    return f"<listOf{kind}>" + "\n".join(items) + f"</listOf{kind}>"


def compartment(size: str | None = "2", constant: bool = True, dimensions: int = 3) -> str:
    given = "" if size is None else f'size="{size}"'
    return many(
        "Compartments",
        f'<compartment id="c" {given} spatialDimensions="{dimensions}" constant="{str(constant).lower()}"/>',
    )


def species(*names: str, given: str = 'initialConcentration="1"', amount: bool = False, boundary: bool = False) -> str:
    return many(
        "Species",
        *(
            f'<species id="{name}" compartment="c" {given} hasOnlySubstanceUnits="{str(amount).lower()}" '
            f'boundaryCondition="{str(boundary).lower()}" constant="false"/>'
            for name in names
        ),
    )


def parameters(**values: float | None) -> str:
    return many(
        "Parameters",
        *(
            f'<parameter id="{name}" constant="false"' + ("" if value is None else f' value="{value}"') + "/>"
            for name, value in values.items()
        ),
    )


def math(formula: str) -> str:
    return f'<math xmlns="{MATHML}">{formula}</math>'


def name(symbol: str) -> str:
    return f"<ci>{symbol}</ci>"


def number(value: float) -> str:
    return f"<cn>{value}</cn>"


def call(function: str, *arguments: str) -> str:
    """``call("plus", ...)`` is the MathML operator, ``call("f()", ...)`` the function f of the model."""
    head = name(function[:-2]) if function.endswith("()") else f"<{function}/>"
    return f"<apply>{head}{''.join(arguments)}</apply>"


def symbol_call(symbol: str, *arguments: str) -> str:
    """``delay`` and ``rateOf`` of SBML."""
    url = f"http://www.sbml.org/sbml/symbols/{symbol}"
    return f'<apply><csymbol encoding="text" definitionURL="{url}">{symbol}</csymbol>{"".join(arguments)}</apply>'


def function(key: str, formula: str, *arguments: str) -> str:
    bound = "".join(f"<bvar>{name(argument)}</bvar>" for argument in arguments)
    return f'<functionDefinition id="{key}">{math(f"<lambda>{bound}{formula}</lambda>")}</functionDefinition>'


def start(symbol: str, formula: str) -> str:
    return f'<initialAssignment symbol="{symbol}">{math(formula)}</initialAssignment>'


def rule(symbol: str, formula: str) -> str:
    return f'<assignmentRule variable="{symbol}">{math(formula)}</assignmentRule>'


def rate(symbol: str, formula: str) -> str:
    return f'<rateRule variable="{symbol}">{math(formula)}</rateRule>'


def algebraic(formula: str) -> str:
    return f"<algebraicRule>{math(formula)}</algebraicRule>"


def event(symbol: str, formula: str, trigger: str = "<true/>") -> str:
    return (
        '<event id="e" useValuesFromTriggerTime="true"><trigger initialValue="false" persistent="true">'
        f'{math(trigger)}</trigger><listOfEventAssignments><eventAssignment variable="{symbol}">{math(formula)}'
        "</eventAssignment></listOfEventAssignments></event>"
    )


def reaction(
    key: str, source: str, target: str, law: str | None, *, local: str = "", stoichiometry: str = 'stoichiometry="1"'
) -> str:
    def one(side: str, who: str) -> str:
        reference = f'<speciesReference species="{who}" {stoichiometry} constant="true"/>'
        return f"<listOf{side}>{reference}</listOf{side}>"

    given = "" if law is None else f"<kineticLaw>{math(law)}{local}</kineticLaw>"
    return (
        f'<reaction id="{key}" reversible="false">{one("Reactants", source)}{one("Products", target)}{given}</reaction>'
    )


MASS_ACTION = call("times", name("c"), name("k"), name("A"))


def conversion(law: str | None = MASS_ACTION, **values: float | None) -> tuple[str, ...]:
    """``A -> B`` at rate ``c k A`` in a compartment of size 2."""
    values = values or {"k": 0.1}
    return compartment(), species("A", "B"), parameters(**values), many("Reactions", reaction("J", "A", "B", law))


def composed(*body: str, definitions: str = "", externals: str = "", required: bool = True) -> str:
    """A document with the package comp."""
    lists = ""
    if definitions:
        lists += f"<comp:listOfModelDefinitions>{definitions}</comp:listOfModelDefinitions>"
    if externals:
        lists += f"<comp:listOfExternalModelDefinitions>{externals}</comp:listOfExternalModelDefinitions>"
    root = f'xmlns:comp="{COMP}" comp:required="{str(required).lower()}"'
    return document(*body, root=root, after=lists)


def definition(key: str, *body: str) -> str:
    return f'<comp:modelDefinition id="{key}">{"".join(body)}</comp:modelDefinition>'


def external(key: str, source: str, model: str = "") -> str:
    reference = f'comp:modelRef="{model}"' if model else ""
    return f'<comp:externalModelDefinition comp:id="{key}" comp:source="{source}" {reference}/>'


def submodels(*pairs: tuple[str, str]) -> str:
    items = "".join(f'<comp:submodel comp:id="{key}" comp:modelRef="{model}"/>' for key, model in pairs)
    return f"<comp:listOfSubmodels>{items}</comp:listOfSubmodels>"
