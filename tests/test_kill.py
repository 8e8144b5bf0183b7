"""kill -9 at any moment: what is finished stays, nothing is done twice, the result is the uninterrupted one."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kill_test.py"
needs_groups = pytest.mark.skipif(sys.platform == "win32", reason="kills a process group, which Windows lacks")


@pytest.fixture
def kill_test():
    if not SCRIPT.exists():
        pytest.skip("benchmarks/ is not beside the tests")
    spec = importlib.util.spec_from_file_location("kill_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outcome(kill_test, capsys, *words):
    status = kill_test.main(list(words))
    return status, json.loads(capsys.readouterr().out)


@needs_groups
@pytest.mark.timeout(120)
def test_one_kill(kill_test, capsys):
    status, told = outcome(kill_test, capsys, "--starts", "6", "--kills", "1")
    assert status == 0
    assert told["starts"] == 6


@needs_groups
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("words", [(), ("--parent-only", "--seed", "1")], ids=["everything", "parent only"])
def test_twenty_kills_of_forty_starts(kill_test, capsys, words):
    kills = 0
    for _ in range(3):  # on a busy machine some kills come after the fit has ended and count for nothing
        status, told = outcome(kill_test, capsys, *words)
        assert status == 0
        assert told["starts"] == 40
        kills += told["kills of a running fit"]
        if kills >= 15:
            break
    assert kills >= 15  # or it has not been tested
