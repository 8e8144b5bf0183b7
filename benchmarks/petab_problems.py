"""Benchmark problems: ``python benchmarks/petab_problems.py DIR [NAME ...] [--json]``.

DIR holds a folder for each problem with a PEtab YAML file in it; NAME is the beginning of a folder's name.  For each
problem: the negative log-likelihood at the nominal values, the median CPU time of an objective value and of a
gradient there, the wall time from nothing to the first value (imports, reading, compiling) and the error of the
gradient against finite differences of a tight solver, at a seeded point 10 % (log) off nominal.

Each problem runs in a process of its own with a time limit; one that fails is an entry and no reason to stop.
``gradient_error`` is max|g - g_fd| / max|g_fd|; status is ``ok``, ``wrong gradient`` (outside of 1e-4 of the largest
component, or of 1e-3 for a component above 1e-3 of it) or ``failed``, and ``reason`` says why.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIELDS = ("problem", "nllh", "objective_ms", "gradient_ms", "setup_s", "gradient_error", "status", "reason")
REPEATS, PATIENCE = 25, 10.0  # of each timing: at most this often, and no longer than these seconds
LIMIT = 900.0  # s, for one problem


def measure(file: str, check: bool = True, seed: int = 0, began: float | None = None) -> dict[str, Any]:
    """What there is to say about one problem; runs in the child."""
    began = time.time() if began is None else began
    sys.path.insert(0, str(ROOT))
    from fits.gradient_check import gradient_check
    from fits.objective import compile_problem
    from fits.petab import read_petab

    # This process is there to be lost, so the models need no trial in another one.
    problem = read_petab(file, trusted=True)
    objective = compile_problem(problem)
    x = objective.nominal
    first = objective.evaluate(x)
    found: dict[str, Any] = {"setup_s": round(time.time() - began, 3)}
    if first.failed:
        return {**found, "status": "failed", "reason": f"no value at the nominal point: {first.failure}"}
    values = {parameter.id: parameter.nominal for parameter in problem.parameters.parameters}
    found["nllh"] = objective.nllh(values)
    found["objective_ms"] = cpu_ms(lambda: objective.evaluate(x))
    slow = objective.evaluate(x, derivatives=True)
    if slow.failed or slow.gradient is None:
        return {**found, "status": "failed", "reason": f"no gradient at the nominal point: {slow.failure}"}
    found["gradient_ms"] = cpu_ms(lambda: objective.evaluate(x, derivatives=True))
    if not check:
        return {**found, "status": "ok", "reason": "gradient not checked"}
    checked = gradient_check(objective, seed=seed)
    found["gradient_error"] = checked.largest
    status = "ok" if checked.sound else "wrong gradient"
    reason = "" if checked.sound and checked.exact and not checked.unjudged else " ".join(checked.sentences)
    return {**found, "status": status, "reason": reason}


def cpu_ms(call: Callable[[], object]) -> float:
    """Median CPU time in ms."""
    times: list[float] = []
    began = time.monotonic()
    while len(times) < REPEATS and (len(times) < 3 or time.monotonic() - began < PATIENCE):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return round(1e3 * statistics.median(times), 4)


def problems(folder: Path, names: list[str]) -> list[tuple[str, Path | None]]:
    """Names and YAML files; None where a folder has none, or there is no such folder."""
    folders = sorted(item for item in folder.iterdir() if item.is_dir())
    found: list[tuple[str, Path | None]] = []
    for wanted in names or [""]:
        chosen = [item for item in folders if item.name.startswith(wanted)]
        if not chosen:
            found.append((wanted, None))
        for item in chosen:
            files = [file for file in sorted(item.glob("*.y*ml")) if _is_problem(file)]
            # a folder may hold variants of its problem; the one that is called like the folder is meant
            found.append((item.name, next((f for f in files if f.stem == item.name), files[0] if files else None)))
    unique = dict(found)
    if not names:
        unique = {name: file for name, file in unique.items() if file is not None}
    return list(unique.items())


def _is_problem(file: Path) -> bool:
    try:
        return "format_version" in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def run(name: str, file: Path | None, limit: float, check: bool, seed: int) -> dict[str, Any]:
    """One problem in a child process."""
    entry: dict[str, Any] = dict.fromkeys(FIELDS)
    entry |= {"problem": name, "status": "failed", "reason": ""}
    if file is None:
        return {**entry, "reason": "no folder of this name with a PEtab YAML file"}
    words = [sys.executable, str(Path(__file__).resolve()), "--child", str(file), repr(time.time()), str(seed)]
    words += [] if check else ["--no-check"]
    # One thread: the times are of one thread, whatever numpy was built with.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=limit, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return {**entry, "reason": f"did not end within {limit:g} s"}
    marked = [line for line in done.stdout.splitlines() if line.startswith("result: ")]
    if marked:
        return {**entry, **json.loads(marked[-1].removeprefix("result: "))}
    lines = done.stderr.strip().splitlines()
    how = f"crashed (signal {-done.returncode})" if done.returncode < 0 else f"exit status {done.returncode}"
    return {**entry, "reason": f"{how}: {lines[-1] if lines else 'no words'}"}


def child(words: list[str]) -> None:
    file, began, seed = words[0], float(words[1]), int(words[2])
    try:
        found = measure(file, "--no-check" not in words, seed, began)
    except Exception as error:
        found = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}
    print("result: " + json.dumps(plain), flush=True)


def line(entry: dict[str, Any]) -> str:
    def number(key: str, form: str) -> str:
        return format(entry[key], form) if entry[key] is not None else "-"

    return (
        f"{entry['problem']:30} {number('nllh', '.6g'):>12} {number('objective_ms', '.2f'):>10} "
        f"{number('gradient_ms', '.2f'):>10} {number('setup_s', '.2f'):>8} {number('gradient_error', '.1e'):>9}  "
        f"{entry['status']}{': ' + entry['reason'] if entry['reason'] else ''}"
    )


def main(argv: list[str] | None = None) -> int:
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["--child"]:
        child(given[1:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("names", metavar="NAME", nargs="*")
    parser.add_argument("--json", action="store_true", help="print a list of entries")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="S", help=f"for one problem ({LIMIT:g})")
    parser.add_argument("--seed", type=int, default=0, help="of the point where the gradient is checked (0)")
    parser.add_argument("--no-check", action="store_true", help="times only")
    args = parser.parse_args(given)
    if not args.folder.is_dir():
        print(f"no folder {args.folder}", file=sys.stderr)
        return 2
    if not args.json:
        head = f"{'problem':30} {'nllh':>12} {'value ms':>10} {'gradient':>10} {'setup s':>8} {'error':>9}  status"
        print(head, flush=True)
    entries = []
    for name, file in problems(args.folder, args.names):
        entries.append(run(name, file, args.limit, not args.no_check, args.seed))
        if not args.json:
            print(line(entries[-1]), flush=True)
    if args.json:
        print(json.dumps(entries, indent=2, allow_nan=False))
    return int(any(entry["status"] != "ok" for entry in entries))


if __name__ == "__main__":
    sys.exit(main())
