"""Run time-course cases in the layout of the SBML Test Suite: ``python benchmarks/sbml_suite.py DIR``.

Each case goes through the public API in a worker process, so that a crash loses one case.  A case passes when
every value is within the case's own tolerances, ``|got - expected| <= absolute + relative * |expected|``.
Prints the lists and, last, ``N passed, N refused, N wrong, N crashed``.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

# The suite asks for about 1e-4 relative, and some of its amounts are as small as 1e-16.
RTOL, ATOL = 1e-10, 1e-18


def read_settings(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip() for key, _, value in lines if key.strip()}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def model_file(case: Path) -> Path:
    """The newest level and version that the folder holds."""
    return sorted(case.glob(f"{case.name}-sbml-l*v*.xml"))[-1]


def run_case(folder: str) -> tuple[str, str]:
    """``("passed" | "refused" | "wrong", reason)`` of one case."""
    from kinetics import KineticsError, Model, Solver, simulate
    from kinetics.errors import IntegrationFailed

    case = Path(folder)
    settings = read_settings(next(case.glob("*-settings.txt")))
    start, duration, steps = float(settings["start"]), float(settings["duration"]), int(settings["steps"])
    times = np.linspace(start, start + duration, steps + 1)
    variables = _names(settings["variables"])
    amounts, concentrations = set(_names(settings["amount"])), set(_names(settings["concentration"]))
    try:
        model = Model.load(model_file(case), trusted=True)  # this process is the child already
        observables = {}
        for name in variables:
            entity = model.description.entities.get(name)
            formula = name
            if entity is not None and entity.kind == "species":
                if name in amounts and not entity.amount:
                    formula = f"{name} * {entity.compartment}"
                elif name in concentrations and entity.amount:
                    formula = f"{name} / {entity.compartment}"
            observables[name] = formula
        course = simulate(model, None, times, observables, solver=Solver(RTOL, ATOL))
    except IntegrationFailed as error:
        return "wrong", f"{type(error).__name__}: {error}"
    except KineticsError as error:
        return "refused", f"{type(error).__name__}: {error}"
    with next(case.glob("*-results.csv")).open(encoding="utf-8") as handle:
        header = [name.strip() for name in handle.readline().split(",")]
        expected = np.array([[_number(cell) for cell in line.split(",")] for line in handle if line.strip()])
    absolute, relative = float(settings["absolute"]), float(settings["relative"])
    worst, where = 0.0, ""
    for name in variables:
        want, got = expected[:, header.index(name)], course[name]
        with np.errstate(all="ignore"):
            error = np.abs(got - want) / (absolute + relative * np.abs(want))
        error[(got == want) | (np.isnan(got) & np.isnan(want))] = 0.0
        error[np.isnan(error)] = math.inf
        if error.max() > worst:
            worst, where = float(error.max()), f"{name} at time {times[int(error.argmax())]:g}"
    return ("passed", "") if worst <= 1.0 else ("wrong", f"{where}: {worst:.3g} times the tolerance")


def _number(text: str) -> float:
    return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}.get(text.strip().lower()) or float(text)


def run_all(cases: list[Path], workers: int) -> dict[str, tuple[str, str]]:
    """All cases; when a worker dies, the cases in flight are run again one by one to find the culprit."""
    context = multiprocessing.get_context("spawn")
    results: dict[str, tuple[str, str]] = {}

    def attempt(batch: list[Path], size: int) -> list[Path]:
        lost = []
        with ProcessPoolExecutor(size, mp_context=context) as pool:
            futures = [(case, pool.submit(run_case, str(case))) for case in batch]
            for case, future in futures:
                try:
                    results[case.name] = future.result(timeout=300)
                except BrokenProcessPool:
                    lost.append(case)
                except TimeoutError:
                    results[case.name] = ("crashed", "no answer in 300 s")
                except Exception as error:
                    results[case.name] = ("crashed", f"{type(error).__name__}: {error}")
        return lost

    lost = attempt(cases, workers)
    for case in lost:
        if attempt([case], 1):
            results[case.name] = ("crashed", "the worker process died")
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder with one sub-folder per case")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", default=[], help="case numbers")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lists")
    arguments = parser.parse_args()
    cases = sorted(
        path for path in arguments.folder.iterdir()
        if path.is_dir() and list(path.glob("*-settings.txt")) and list(path.glob("*-sbml-l*v*.xml"))
        and (not arguments.only or path.name in arguments.only)
    )  # fmt: skip
    if not cases:
        print(f"no cases in {arguments.folder}", file=sys.stderr)
        return 2
    results = run_all(cases, arguments.workers)
    groups = {
        kind: sorted(n for n, (k, _) in results.items() if k == kind)
        for kind in ("passed", "refused", "wrong", "crashed")
    }
    if arguments.json:
        print(json.dumps({name: {"result": kind, "reason": why} for name, (kind, why) in sorted(results.items())}))
    else:
        for kind in ("refused", "wrong", "crashed"):
            for name in groups[kind]:
                print(f"{kind} {name}: {results[name][1]}")
    print(
        ", ".join(f"{len(groups[kind])} {kind}" for kind in groups), file=sys.stderr if arguments.json else sys.stdout
    )
    return 0 if not groups["wrong"] and not groups["crashed"] else 1


if __name__ == "__main__":
    sys.exit(main())
