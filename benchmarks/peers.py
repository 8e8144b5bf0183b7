"""The same work with pyPESTO and AMICI: ``python benchmarks/peers.py DIR [NAME ...] [--env FOLDER]``.

DIR holds the benchmark problems (see `petab_problems.py`).  The peers live in an environment of their own, made in
FOLDER when it is not there; they need a C++ compiler, SWIG, BLAS and HDF5.  Where they cannot be installed the
benchmark says so, and prints our figures beside ones that were looked up, labelled as such.

Measured, each in a process of its own, one thread, one after the other:

* wall time from the start of Python to the first objective value (with the peers this includes compiling C++);
* median CPU time of an objective value and of a gradient, AMICI's forward and adjoint modes, at default tolerances;
* fits of the first problem (Boehm by default) from ``--starts`` starts: CPU time, and how many starts end within 0.1
  of the reference value.  pyPESTO runs Fides, with its own default options.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from petab_problems import cpu_ms, problems, run

ROOT = Path(__file__).parents[1]
PACKAGES = ("amici", "pypesto", "petab", "fides")
INSTALL_LIMIT, CHILD_LIMIT = 900.0, 1200.0  # s
BEST = {"Boehm_JProteomeRes2014": 138.222}  # published minimum of the negative log-likelihood
NAMES = ("Boehm", "Fujita", "Raia", "Bachmann")
# CPU ms (objective, gradient forward, gradient adjoint) of AMICI 1.0.1 at its defaults, one thread.
# They are here for machines on which the peers cannot be installed, and are never mixed with measured ones.
LOOKED_UP = {
    "Boehm_JProteomeRes2014": (1.2, 8.0, 16.0),
    "Fujita_SciSignal2010": (7.7, None, 122.0),
    "Raia_CancerResearch2011": (5.4, 162.0, 68.0),
    "Bachmann_MSB2011": (40.0, 2590.0, None),
}
LOOKED_UP_COLD_S, LOOKED_UP_FIT_S = 19.7, 7.0  # of Boehm


# --- children -----------------------------------------------------------------------------------------------


def peer_problem(file: str, began: float, folder: str) -> dict[str, Any]:
    """Runs in the peers' environment: one problem, measured."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import numpy as np
    import petab.v1

    problem = _peer_objective(file, folder)
    stated = petab.v1.Problem.from_yaml(file)
    nominal = np.asarray(stated.x_nominal_free_scaled)
    problem.objective(nominal)
    found: dict[str, Any] = {"setup_s": time.time() - began}
    found["objective_ms"] = cpu_ms(lambda: problem.objective(nominal))
    import amici.sim.sundials as asd

    # Priors make the objective a sum, of which one part has the solver and is the likelihood.
    parts = getattr(problem.objective, "_objectives", [problem.objective])
    likelihood = next(part for part in parts if hasattr(part, "amici_solver"))
    found["nllh"] = float(likelihood(nominal))
    solver = likelihood.amici_solver
    for mode, method in (
        ("forward", asd.SensitivityMethod.forward),
        ("adjoint", asd.SensitivityMethod.adjoint),
    ):
        solver.set_sensitivity_method(method)
        gradient = problem.objective(nominal, sensi_orders=(1,))
        if np.all(np.isfinite(gradient)):
            found[f"{mode}_ms"] = cpu_ms(lambda: problem.objective(nominal, sensi_orders=(1,)))
    return found


def _peer_objective(file: str, folder: str) -> Any:
    from pypesto.petab import PetabImporter

    importer = PetabImporter.from_yaml(file, output_folder=folder, model_name="peer_model")
    creator = importer.create_objective_creator()
    return importer.create_problem(creator.create_objective(verbose=False))


def peer_fit(file: str, folder: str, starts: int, seed: int) -> dict[str, Any]:
    """A multi-start fit with pyPESTO and Fides; the model is compiled already."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import numpy as np
    from pypesto import optimize

    problem = _peer_objective(file, folder)
    np.random.seed(seed)
    began, wall = time.process_time(), time.time()
    result = optimize.minimize(
        problem, optimize.FidesOptimizer(verbose=logging.ERROR), n_starts=starts, progress_bar=False, filename=None
    )
    seconds = {"cpu_s": time.process_time() - began, "wall_s": time.time() - wall}
    return {**seconds, "values": sorted(float(item.fval) for item in result.optimize_result.list)}


def our_fit(file: str, starts: int, seed: int) -> dict[str, Any]:
    """The same with ours."""
    sys.path.insert(0, str(ROOT))
    from fits.objective import compile_problem
    from fits.optimise import fit
    from fits.petab import read_petab

    objective = compile_problem(read_petab(file, trusted=True))
    objective.evaluate(objective.nominal, derivatives=True)  # set up outside of the clock, as the peers' compilation
    began, wall = time.process_time(), time.time()
    result = fit(objective, n_starts=starts, seed=seed, progress=False)
    seconds = {"cpu_s": time.process_time() - began, "wall_s": time.time() - wall}
    return {**seconds, "values": [float(value) for value in result.values]}


def child(words: list[str]) -> None:
    task, file, *rest = words
    try:
        if task == "peer":
            found = peer_problem(file, float(rest[0]), rest[1])
        elif task == "peer-fit":
            found = peer_fit(file, rest[0], int(rest[1]), int(rest[2]))
        else:
            found = our_fit(file, int(rest[0]), int(rest[1]))
    except Exception as error:
        found = {"failure": f"{type(error).__name__}: {error}"}
    print("result: " + json.dumps(found), flush=True)


def _run_child(python: str, *words: str) -> dict[str, Any]:
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    # AMICI compiles with what stands beside its Python: cmake, ninja, swig.
    path = os.pathsep.join((str(Path(python).parent), os.environ.get("PATH", "")))
    try:
        done = subprocess.run(
            [python, str(Path(__file__).resolve()), "--child", *words],
            capture_output=True, text=True, errors="replace", timeout=CHILD_LIMIT, check=False,
            env={**os.environ, **threads, "PATH": path},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failure": f"did not end within {CHILD_LIMIT:g} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("result: ")]
    if not lines:
        words_of = done.stderr.strip().splitlines()
        return {"failure": f"exit status {done.returncode}: {words_of[-1] if words_of else 'no words'}"}
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("result: "))
    return found


# --- the environment ----------------------------------------------------------------------------------------


def environment(folder: Path) -> tuple[str, str]:
    """The Python of the peers' environment and ``""``; or ``""`` and why there is none."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    try:
        if not python.exists():
            print(f"installing {', '.join(PACKAGES)} into {folder} (up to {INSTALL_LIMIT / 60:g} min)", file=sys.stderr)
            venv.create(folder, with_pip=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
            subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=True)
        probe = "import pypesto, amici, fides; print(pypesto.__version__, amici.__version__, fides.__version__)"
        done = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, timeout=120, check=True)
    except subprocess.TimeoutExpired:
        return "", "the installation did not end in time"
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        return "", lines[-1] if lines else str(error)
    except OSError as error:
        return "", str(error)
    versions = dict(zip(("pyPESTO", "AMICI", "Fides"), done.stdout.split()[-3:], strict=False))
    print(f"peers: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    return str(python), ""


# --- the report ---------------------------------------------------------------------------------------------


def row(*cells: object) -> None:
    texts = ["-" if c is None else f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells]
    print("  ".join(f"{text:>14}" if i else f"{text:26}" for i, text in enumerate(texts)), flush=True)


def ratio(theirs: float | None, ours: float | None) -> str | None:
    return f"{theirs / ours:.2f}x" if theirs and ours else None


def main(argv: list[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["--child"]:
        child(given[1:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("names", metavar="NAME", nargs="*", default=list(NAMES))
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "kinetics-peers", metavar="FOLDER")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3, help="how many fits (3), from seeds 0, 1, ...")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    args = parser.parse_args(given)
    if not args.folder.is_dir():
        print(f"no folder {args.folder}", file=sys.stderr)
        return 2
    python, why = environment(args.env)
    if not python:
        print(f"skipped: pyPESTO and AMICI cannot be installed here ({why}); looked-up figures stand in their place")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"machine: {platform.machine()}, {os.cpu_count()} processors, load {load}\n")
    chosen = [(name, file) for name, file in problems(args.folder, args.names) if file is not None]
    measured: dict[str, Any] = {"ours": {}, "peers": {}, "our fits": [], "peer fits": []}
    with tempfile.TemporaryDirectory() as built:
        _compare_problems(chosen, python, built, measured)
        if chosen and args.seeds > 0:
            _compare_fits(*chosen[0], python, built, args.starts, args.seeds, measured)
    if args.json:
        Path(args.json).write_text(json.dumps(measured, indent=1), encoding="utf-8")
    return 0


def _compare_problems(chosen: list[tuple[str, Path]], python: str, built: str, measured: dict[str, Any]) -> None:
    source = "measured" if python else "looked up"
    row("problem", "", "ours", "peers", f"({source})", "peers / ours")
    for name, file in chosen:
        ours = run(name, file, CHILD_LIMIT, False, 0)
        theirs = _looked_up(name)
        if python:
            theirs = _run_child(python, "peer", str(file), repr(time.time()), str(Path(built) / name))
        measured["ours"][name], measured["peers"][name] = ours, theirs
        failures = {"ours": ours["reason"] if ours["status"] == "failed" else "", "peers": theirs.get("failure")}
        for who, why in failures.items():
            if why:
                print(f"{name}: {who} failed: {why}")
        row(name, "nllh", ours["nllh"] and f"{ours['nllh']:.6g}", theirs.get("nllh") and f"{theirs['nllh']:.6g}")
        cold = theirs.get("setup_s")
        row("", "cold start s", ours["setup_s"], cold, "", ratio(cold, ours["setup_s"]))
        objective = theirs.get("objective_ms")
        row("", "objective ms", ours["objective_ms"], objective, "", ratio(objective, ours["objective_ms"]))
        modes = {mode: theirs.get(f"{mode}_ms") for mode in ("forward", "adjoint")}
        known = [value for value in modes.values() if value]
        for mode, value in modes.items():
            row("", "gradient ms", ours["gradient_ms"], value, mode, ratio(value, ours["gradient_ms"]))
        row("", "better mode", None, min(known, default=None), "", ratio(min(known, default=None), ours["gradient_ms"]))


def _looked_up(name: str) -> dict[str, Any]:
    if name not in LOOKED_UP:
        return {}
    objective, forward, adjoint = LOOKED_UP[name]
    cold = LOOKED_UP_COLD_S if name.startswith("Boehm") else None
    return {"objective_ms": objective, "forward_ms": forward, "adjoint_ms": adjoint, "setup_s": cold}


def _compare_fits(
    name: str, file: Path, python: str, built: str, starts: int, seeds: int, measured: dict[str, Any]
) -> None:
    print(f"\nfits of {name} from {starts} starts")
    row("", "seed", "CPU s", "wall s", "best", "near the best")
    for seed in range(seeds):
        for who, key in (("ours", "our fits"), ("peers", "peer fits")):
            if who == "ours":
                found = _run_child(sys.executable, "our-fit", str(file), str(starts), str(seed))
            elif python:
                found = _run_child(python, "peer-fit", str(file), str(Path(built) / name), str(starts), str(seed))
            else:
                continue
            measured[key].append(found)
            if "failure" in found:
                print(f"{who}: failed: {found['failure']}")
                continue
            best = BEST.get(name, min(found["values"]))
            near = sum(value <= best + 0.1 for value in found["values"])
            share = f"{near} of {starts}"
            row(who, str(seed), found["cpu_s"], found["wall_s"], f"{found['values'][0]:.6g}", share)
    if not python and name.startswith("Boehm"):
        row("peers (looked up)", "", LOOKED_UP_FIT_S, None, "138.22", "1 of 10, one seed of three")


if __name__ == "__main__":
    sys.exit(main())
