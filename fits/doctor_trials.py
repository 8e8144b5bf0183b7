"""What `fits.doctor` tries in a process of its own: imports, the engine, Antimony, the bundled models, a figure.

A broken package may raise, print, hang or crash; here it can only take its own trial with it and those after it.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TextIO

PATIENCE = 180.0  # seconds for all trials; a cold start of all packages takes up to 30
_MARK = "doctor: "  # packages print things when they are imported
_CHILD = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fits.doctor_trials import try_all
try_all(json.loads(sys.argv[2]), sys.stdout)
"""


def run_trials(modules: Sequence[str], tried: Callable[[], None] | None = None) -> tuple[dict[str, str], str]:
    """What came of each trial, and how the process ended: ``""`` for well.  ``tried`` is called after each.

    Returns:
        By ``"import MODULE"``, ``"engine"``, ``"antimony"``, ``"models"`` and ``"figures"``: ``""`` where it went well,
        ``"= ..."`` with what was found, else an error in one line.  What was never come to is missing.
    """
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path), json.dumps(list(modules))]
    results: dict[str, str] = {}

    def listen(stream: IO[bytes]) -> None:
        for line in stream:
            _, mark, rest = line.decode("utf-8", "replace").partition(_MARK)
            if mark:
                name, result = json.loads(rest)
                results[name] = result
                if tried is not None:
                    tried()

    ending = ""
    # What goes wrong is written to a file: a pipe that nobody reads would fill and stop the child.
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            return {}, f"could not be started: {error.strerror or error}"
        assert child.stdout is not None
        with child.stdout as stream:
            listener = threading.Thread(target=listen, args=(stream,), daemon=True)
            listener.start()
            try:
                status = child.wait(PATIENCE)
                if status < 0:
                    ending = f"crashed (signal {-status})"
            except subprocess.TimeoutExpired:
                child.kill()
                status, ending = child.wait(), f"did not end within {PATIENCE:g} s"
            listener.join(timeout=5.0)
        if status > 0 and not ending:
            errors.seek(0)
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
            ending = f"failed: {lines[-1] if lines else f'exit status {status}'}"
    return results, ending


def try_all(modules: Sequence[str], out: TextIO) -> None:
    """Runs in the child: each trial reports as soon as it is done, so that a crash names the next one."""
    import warnings

    warnings.simplefilter("ignore")
    trials = {f"import {module}": _importing(module) for module in modules}
    for name, trial in {**trials, **WORK}.items():
        try:
            result = trial()
        except BaseException as error:  # SystemExit of an import counts, too
            first = str(error).strip().splitlines()
            result = f"{type(error).__name__}: {first[0] if first else 'no words'}"
        print(_MARK + json.dumps([name, result]), file=out, flush=True)


def _importing(module: str) -> Callable[[], str]:
    def trial() -> str:
        importlib.import_module(module)
        return ""

    return trial


_DECAY = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"><model id="decay">
<listOfParameters>
<parameter id="A" value="10" constant="false"/><parameter id="k" value="0.3" constant="true"/>
</listOfParameters>
<listOfRules><rateRule variable="A"><math xmlns="http://www.w3.org/1998/Math/MathML">
<apply><times/><cn>-1</cn><ci>k</ci><ci>A</ci></apply></math></rateRule></listOfRules>
</model></sbml>"""


def _engine() -> str:
    import math

    from kinetics.model import Model
    from kinetics.simulation import simulate

    times = [0.0, 1.0, 5.0, 10.0]
    found = simulate(Model.load(_DECAY, trusted=True), None, times, ["A"])["A"]
    worst = max(abs(v / (10.0 * math.exp(-0.3 * t)) - 1.0) for t, v in zip(times, found, strict=True))
    # the default tolerance is 1e-8 per step; 1e-6 leaves room for all steps and finds any real fault
    return "" if worst < 1e-6 else f"a decay differs from its closed form by {worst:.2g} (relative)"


def _antimony() -> str:
    from kinetics.antimony import to_sbml

    return "" if "<sbml" in to_sbml("model m\n  A -> ; k*A; A = 10; k = 0.3\nend\n") else "no SBML came out"


def _models() -> str:
    from kinetics import catalogue
    from kinetics.antimony import in_step
    from kinetics.model import Model

    for entry in catalogue.models():
        Model.load(entry.name)
        if differences := in_step(entry.antimony(), entry.sbml()):
            return f"{entry.name}.xml is not the translation of {entry.name}.ant: {differences[0]}"
    return "= " + ", ".join(entry.name for entry in catalogue.models())


def _figures() -> str:
    import matplotlib

    from kinetics.plotting import new_axes, to_svg

    ax = new_axes(2.0, 2.0)
    ax.plot([0.0, 1.0], [0.0, 1.0])
    return f"= {matplotlib.get_backend()}" if "<svg" in to_svg(ax) else "no SVG came out"


WORK: Mapping[str, Callable[[], str]] = {
    "engine": _engine, "antimony": _antimony, "models": _models, "figures": _figures,
}  # fmt: skip
