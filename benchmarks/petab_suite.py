"""Run cases in the layout of the PEtab test suite: ``python benchmarks/petab_suite.py DIR``.

DIR holds ``v1.0.0/NNNN/`` and ``v2.0.0/NNNN/``, and ``v2.0.0/math/``.  Each case goes through the public API in a
worker process, so that a crash loses one case.  A case passes when log-likelihood, chi2, every simulated value and,
where stated, the log prior of every parameter are within the tolerances of its solution file.
Prints the lists and, last, ``N passed, N refused, N wrong, N crashed``; an expression that evaluates to something
else counts as wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

RTOL, ATOL = 1e-10, 1e-14
TIMEOUT = 300.0  # s, for one case


def run_case(folder: str) -> tuple[str, str]:
    """``("passed" | "refused" | "wrong", reason)`` of one case."""
    import yaml

    from fits.objective import compile_problem
    from fits.petab import read_petab
    from kinetics.engine import Solver
    from kinetics.errors import KineticsError, SimulationError

    case = Path(folder)
    with (case / f"_{case.name}_solution.yaml").open(encoding="utf-8") as handle:
        solution = yaml.safe_load(handle)
    try:
        problem = read_petab(case / f"_{case.name}.yaml", trusted=True)  # this process is the child already
        values = {parameter.id: parameter.nominal for parameter in problem.parameters.parameters}
        objective = compile_problem(problem, Solver(RTOL, ATOL))
        simulated = objective.simulate(values)
        got = {"llh": -objective.nllh(values), "chi2": objective.chi2(values)}
    except SimulationError as error:
        return "wrong", f"{type(error).__name__}: {error}"
    except KineticsError as error:
        return "refused", f"{type(error).__name__}: {error}"
    faults = [
        f"{what} is {got[what]:.10g}, expected {solution[what]:.10g}"
        for what in ("llh", "chi2")
        if what in solution and not abs(got[what] - solution[what]) <= solution[f"tol_{what}"]
    ]
    faults += _compare_simulations(case, solution, problem, simulated)
    if "unnorm_log_posterior" in solution:
        faults += _compare_priors(solution, problem, values, got["llh"], objective.log_prior(values))
    return ("wrong", "; ".join(faults)) if faults else ("passed", "")


def _compare_simulations(case: Path, solution: dict[str, Any], problem: Any, simulated: Any) -> Iterator[str]:
    expected = [row for name in solution["simulation_files"] for row in _rows(case / name)]
    if len(expected) != len(problem.measurements):
        yield f"{len(problem.measurements)} measurements, but {len(expected)} simulations in the solution"
        return
    for row, measurement, value in zip(expected, problem.measurements, simulated, strict=True):
        where = f"{measurement.observable} at {measurement.time:g}"
        if row["observableId"] != measurement.observable or float(row["time"]) != measurement.time:
            yield f"the solution has {row['observableId']} at {row['time']} where the problem has {where}"
        elif not abs(float(row["simulation"]) - value) <= solution["tol_simulations"]:
            yield f"{where} is {value:.10g}, expected {row['simulation']}"


def _compare_priors(
    solution: dict[str, Any], problem: Any, values: dict[str, float], llh: float, log_prior: float
) -> Iterator[str]:
    for name, expected in solution.get("log_prior", {}).items():
        prior = problem.parameters[name].prior
        density = math.nan if prior is None else prior.log_density(values[name])
        if not abs(density - expected) <= solution["tol_log_prior"]:
            yield f"log prior of {name} is {density:.16g}, expected {expected:.16g}"
    posterior, expected = llh + log_prior, solution["unnorm_log_posterior"]
    if not abs(posterior - expected) <= solution["tol_unnorm_log_posterior"]:
        yield f"log posterior is {posterior:.10g}, expected {expected:.10g}"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def run_math(path: Path) -> tuple[int, list[str]]:
    """Number of expressions, and what is wrong with those that do not evaluate as stated."""
    import numpy as np
    import yaml

    from kinetics.errors import KineticsError
    from kinetics.expression import evaluate
    from kinetics.formula import parse

    with path.open(encoding="utf-8") as handle:
        cases = yaml.safe_load(handle)["cases"]
    faults = []
    for case in cases:
        text, expected = str(case["expression"]), case["expected"]
        try:
            formula = parse(text)
            if isinstance(expected, str):
                same = formula is parse(expected)
                got: object = formula
            else:
                with np.errstate(all="ignore"):
                    got = float(evaluate(formula, {}))
                same = got == float(expected) or math.isclose(got, float(expected), rel_tol=1e-12)
        except KineticsError as error:
            same, got = False, error
        if not same:
            faults.append(f"{text!r} gives {got}, expected {expected}")
    return len(cases), faults


def run_all(cases: dict[str, Path], workers: int) -> dict[str, tuple[str, str]]:
    """All cases; when a worker dies, the cases in flight are run again one by one to find the culprit."""
    context = multiprocessing.get_context("spawn")
    results: dict[str, tuple[str, str]] = {}

    def attempt(batch: list[str], size: int) -> list[str]:
        lost = []
        with ProcessPoolExecutor(size, mp_context=context) as pool:
            futures = [(name, pool.submit(run_case, str(cases[name]))) for name in batch]
            for name, future in futures:
                try:
                    results[name] = future.result(timeout=TIMEOUT)
                except BrokenProcessPool:
                    lost.append(name)
                except TimeoutError:
                    results[name] = ("crashed", f"no answer in {TIMEOUT:g} s")
                    for process in multiprocessing.active_children():  # ours: this script starts no others
                        process.kill()
                except Exception as error:
                    results[name] = ("crashed", f"{type(error).__name__}: {error}")
        return lost

    for name in attempt(list(cases), workers):
        if name not in results and attempt([name], 1):
            results[name] = ("crashed", "the worker process died")
    return results


def find_cases(folder: Path) -> dict[str, Path]:
    """Folders with a problem and its solution, by ``"v2.0.0/0001"``."""
    found = {}
    for solution in sorted(folder.rglob("_*_solution.yaml")):
        case = solution.parent
        if solution.name == f"_{case.name}_solution.yaml" and (case / f"_{case.name}.yaml").is_file():
            found[case.relative_to(folder).as_posix()] = case
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder with v1.0.0/NNNN/ and v2.0.0/NNNN/")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", default=[], help="cases such as v2.0.0/0016, or 0016 for both versions")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lists")
    arguments = parser.parse_args()
    cases = {
        name: path
        for name, path in find_cases(arguments.folder).items()
        if not arguments.only or name in arguments.only or path.name in arguments.only
    }
    if not cases:
        print(f"no cases in {arguments.folder}", file=sys.stderr)
        return 2
    results = run_all(cases, max(1, arguments.workers))
    groups = {
        kind: sorted(n for n, (k, _) in results.items() if k == kind)
        for kind in ("passed", "refused", "wrong", "crashed")
    }
    faults: list[str] = []
    math_files = [] if arguments.only else sorted(arguments.folder.rglob("math_tests.yaml"))
    totals = 0
    for path in math_files:
        count, wrong = run_math(path)
        totals, faults = totals + count, faults + wrong
    if arguments.json:
        report: dict[str, object] = {name: {"result": k, "reason": why} for name, (k, why) in sorted(results.items())}
        print(json.dumps({"cases": report, "expressions": totals, "wrong expressions": faults}))
    else:
        for kind in ("refused", "wrong", "crashed"):
            for name in groups[kind]:
                print(f"{kind} {name}: {results[name][1]}")
        for fault in faults:
            print(f"wrong expression: {fault}")
        if math_files:
            print(f"math: {totals - len(faults)} of {totals} expressions evaluate as stated")
    counts = {kind: len(names) for kind, names in groups.items()}
    counts["wrong"] += len(faults)
    print(
        ", ".join(f"{count} {kind}" for kind, count in counts.items()),
        file=sys.stderr if arguments.json else sys.stdout,
    )
    return 0 if not counts["wrong"] and not counts["crashed"] else 1


if __name__ == "__main__":
    sys.exit(main())
