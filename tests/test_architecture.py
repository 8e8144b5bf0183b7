"""The layers, read from the imports: sbml < kinetics < fits, and one room for each engine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("sbml", "kinetics", "fits") for path in (ROOT / package).rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def _imports(path: Path, *, everywhere: bool = True) -> Iterator[str]:
    """Dotted names a file imports; ``everywhere=False``: only at module level and not for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes: list[ast.AST] = list(ast.walk(tree)) if everywhere else _top(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute here"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def _top(body: list[ast.stmt]) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in body:
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.dump(node.test):
                found += _top(node.body)
            found += _top(node.orelse)
        elif isinstance(node, ast.Try):
            found += _top([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.ClassDef | ast.With):
            found += _top(node.body)
        else:
            found.append(node)
    return found


def _users(*packages: str) -> set[str]:
    """Modules that import one of these packages, anywhere in them."""
    return {name for name, path in MODULES.items() if {i.split(".")[0] for i in _imports(path)} & set(packages)}


def test_the_files_are_found():
    assert {"sbml", "kinetics", "kinetics.engine", "kinetics.antimony", "kinetics.plotting"} <= MODULES.keys()
    assert any(name.startswith("fits.") for name in MODULES)


def test_imports_go_down_only():
    assert not {m for m in _users("fits") if m.startswith(("kinetics", "sbml"))}
    assert not {m for m in _users("kinetics") if m.startswith("sbml")}


def test_the_models_are_data_without_code():
    for name, path in MODULES.items():
        if name.startswith("sbml"):
            assert [type(node) for node in ast.parse(path.read_text()).body] == [ast.Expr], f"{name}: a docstring only"


@pytest.mark.parametrize(
    "packages, rooms",
    [
        (("roadrunner",), {"kinetics.engine"}),
        (("antimony", "tellurium"), {"kinetics.antimony"}),
        (("pint",), {"kinetics.units"}),
    ],
)
def test_each_engine_has_one_room(packages, rooms):
    assert _users(*packages) == rooms


def test_only_plotting_draws():
    """Reports and the command line call plotting; nothing else knows matplotlib."""
    others = {name for name in _users("matplotlib") if not name.split(".")[-1].startswith("plotting")}
    assert others <= {"fits.doctor", "fits.doctor_trials"}  # they try every dependency to say what is wrong with it


def test_nothing_imports_plotting_but_the_edges():
    edges = {"plotting", "report", "explore", "cli", "__init__"}
    for name, path in MODULES.items():
        if any(i.startswith("kinetics.plotting") for i in _imports(path, everywhere=False)):
            assert name.split(".")[-1] in edges, name


def test_slow_packages_are_imported_where_they_are_needed():
    slow = {"tellurium", "antimony", "matplotlib", "petab", "pypesto", "libsbml", "pint", "xarray", "emcee", "yaml"}
    for name, path in MODULES.items():
        if name.startswith("kinetics") and "plotting" not in name:
            found = {i.split(".")[0] for i in _imports(path, everywhere=False)} & slow
            assert not found, f"{name} imports {found} at module level"


def test_nothing_evaluates_text():
    """No eval or sympify; exec only in the generators of numpy code, which write their own source."""
    allowed = {(f"kinetics.{room}", word) for room in ("codegen", "elimination") for word in ("exec", "compile")}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("eval", "exec", "compile", "__import__", "sympify", "parse_expr"):
                    assert (name, node.func.id) in allowed


@pytest.mark.parametrize("package", ["kinetics", "fits"])
def test_no_circles_at_module_level(package):
    graph = {}
    for name, path in MODULES.items():
        if name.startswith(package) and path.name != "__init__.py":
            graph[name] = {other for i in _imports(path, everywhere=False) for other in (i, i.rpartition(".")[0])} & {
                m for m, p in MODULES.items() if p.name != "__init__.py"
            } - {name}
    try:
        assert list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_public_names_hide_no_module():
    import kinetics

    modules = {name.split(".")[1] for name in MODULES if name.startswith("kinetics.")}
    assert not modules & set(kinetics.__all__)
    assert sorted(kinetics.__all__) == kinetics.__all__
    for name in kinetics.__all__:
        assert hasattr(kinetics, name)
