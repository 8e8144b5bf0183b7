"""kill -9 at random moments: after resuming, the stored result is that of an uninterrupted fit, bit for bit.

``python benchmarks/kill_test.py`` runs a fit of 40 starts with 2 workers once in peace, and then again and again,
killed with all its processes at 20 random moments before it may end.  ``--parent-only`` kills the parent alone: its
workers must notice.  ``--objective module:function`` fits what the function returns.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fits.evaluation import Evaluation


class Decay:
    """Two exponentials on log10 scale; every evaluation sleeps as a simulation would compute."""

    names = ("log10_a", "log10_k", "log10_b", "log10_l")
    lower, upper = np.full(4, -3.0), np.full(4, 2.0)
    nominal = np.full(4, np.nan)
    least_squares = True
    fingerprint = {"model": "two exponentials", "data": "13 points, no noise"}  # noqa: RUF012
    times = np.linspace(0.0, 6.0, 13)

    def __init__(self, pause=0.0):
        self.pause = pause

    def parts(self, x):
        a, k, b, m = 10.0 ** np.asarray(x, dtype=float)
        return a * np.exp(-k * self.times), b * np.exp(-m * self.times), k, m

    def evaluate(self, x, *, derivatives=False):
        time.sleep(self.pause)
        one, two, k, m = self.parts(x)
        residuals = (one + two - 3.0 * np.exp(-0.4 * self.times) - 1.5 * np.exp(-3.0 * self.times)) / 0.1
        value = 0.5 * float(residuals @ residuals)
        columns = [one, -k * self.times * one, two, -m * self.times * two]
        jacobian = np.stack(columns, axis=1) * np.log(10.0) / 0.1
        return Evaluation(value, residuals=residuals, jacobian=jacobian) if derivatives else Evaluation(value)

    def sample_prior(self, rng):
        return None


def toy():
    return Decay(pause=0.02)


def load(name):
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)() if function else toy()


def child(arguments):
    """The fit itself, in a process of its own."""
    from fits.optimise import fit
    from fits.starts import StartDesign

    objective, design = load(arguments.objective), StartDesign(candidates=2, heat=3)
    fit(objective, n_starts=arguments.starts, workers=arguments.workers, store=arguments.child, seed=11, design=design)


def rows(store):
    """Every stored row as it lies in the file, times and process ids in a place of their own."""
    if not store.exists():
        return {}
    connection = sqlite3.connect(store)
    try:
        found = connection.execute("SELECT number, result, circumstances FROM pieces WHERE kind = 'start'").fetchall()
    finally:
        connection.close()
    return {number: (result, circumstances) for number, result, circumstances in found}


def start(store, arguments):
    command = [sys.executable, __file__, "--child", str(store), "--objective", arguments.objective]
    command += ["--starts", str(arguments.starts), "--workers", str(arguments.workers)]
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(command, start_new_session=True, env=environment)


def kill(process, parent_only):
    """End the process, or all of its group, without notice."""
    if parent_only:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def run(arguments):
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder, "whole.sqlite"), Path(folder, "cut.sqlite")
        startup, duration = timed(whole, arguments)
        reference = rows(whole)
        hits, seen, progress = 0, {}, []
        for _ in range(arguments.kills):
            process = start(cut, arguments)
            try:
                # Every round starts up again and then works for a fortieth of the whole on average, so that
                # the fit is not done before the last kill.
                moment = chance.uniform(0.5 * startup, startup + 0.05 * (duration - startup))
                try:
                    process.wait(moment)
                except subprocess.TimeoutExpired:
                    hits += 1
            finally:
                kill_if_running(process, arguments.parent_only)
            now = rows(cut)
            lost = [number for number, row in seen.items() if now.get(number) != row]
            if lost:
                raise SystemExit(f"starts {lost} were lost or written twice")
            seen = now
            progress.append(len(now))
            if arguments.parent_only:
                time.sleep(0.5)
        if start(cut, arguments).wait(1800) != 0:
            raise SystemExit("the resumed fit failed")
        resumed = rows(cut)
        kept = all(resumed[number] == row for number, row in seen.items())
        equal = {n: r for n, (r, _) in resumed.items()} == {n: r for n, (r, _) in reference.items()}
    return {
        "starts": len(reference),
        "kills": arguments.kills,
        "kills of a running fit": hits,
        "starts stored at each kill": progress,
        "stored before the last run and kept": kept,
        "equal to the uninterrupted fit": equal,
    }


def timed(store, arguments):
    """Run a fit in peace; seconds until its first start was stored, and until its end."""
    began, first = time.monotonic(), None
    process = start(store, arguments)
    while process.poll() is None and time.monotonic() - began < 1800:
        if first is None and rows(store):
            first = time.monotonic() - began
        time.sleep(0.05)
    if process.wait(1) != 0 or first is None:
        raise SystemExit("the uninterrupted fit failed")
    return first, time.monotonic() - began


def kill_if_running(process, parent_only):
    if process.poll() is None:
        kill(process, parent_only)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--parent-only", action="store_true", help="leave the workers to notice by themselves")
    parser.add_argument("--objective", default="", help="module:function that returns the objective")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.child:
        child(arguments)
        return 0
    outcome = run(arguments)
    print(json.dumps(outcome, indent=1))
    return 0 if outcome["equal to the uninterrupted fit"] and outcome["stored before the last run and kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
