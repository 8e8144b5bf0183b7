"""The store: nothing lost, nothing replaced, nothing mixed, one holder at a time."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toys import Decay, Slow, essence

from fits.lock import StoreInUse
from fits.optimise import fit
from fits.result import read_fit
from fits.search import Limits
from fits.store import Store, StoreDamaged, StoreError, StoreMismatch, canonical
from kinetics.errors import InputError

PROBLEM = {"model": "a1", "data": "b2"}
AWKWARD = [0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan")]


def test_floats_come_back_to_the_bit(tmp_path):
    with Store(tmp_path / "s.sqlite", PROBLEM) as store:
        store.open_kind("start", {}).put(3, {"values": np.array(AWKWARD)}, {"pid": 1})
    with Store(tmp_path / "s.sqlite", PROBLEM) as store:
        ((number, result, circumstances),) = store.open_kind("start", {}).items()
    back = np.array([float(value) for value in result["values"]])
    assert (number, circumstances) == (3, {"pid": 1})
    assert back.tobytes() == np.array(AWKWARD).tobytes()


def test_a_piece_is_written_once(tmp_path):
    with Store(tmp_path / "s.sqlite", PROBLEM) as store:
        pieces = store.open_kind("start", {})
        pieces.put(0, {"value": 1.0})
        with pytest.raises(StoreError, match=r"holds start 0 already"):
            pieces.put(0, {"value": 2.0})
        assert [result for _, result, _ in pieces.items()] == [{"value": 1.0}]
        assert pieces.numbers() == {0}


def test_another_problem_is_refused_with_what_changed(tmp_path):
    path = tmp_path / "s.sqlite"
    Store(path, PROBLEM).close()
    before = path.read_bytes()
    with pytest.raises(
        StoreMismatch, match=r"s\.sqlite belongs to another problem \(changed: data; unchanged: model\)"
    ):
        Store(path, {**PROBLEM, "data": "c3"})
    with pytest.raises(StoreMismatch, match=r"changed: noise"):
        Store(path, {**PROBLEM, "noise": "c3"})
    assert path.read_bytes() == before
    Store(path, PROBLEM).close()  # a refusal leaves no lock behind


def test_other_settings_are_refused_by_name_and_value(tmp_path):
    store = tmp_path / "fit.sqlite"
    fit(Decay(), n_starts=2, store=store)
    with pytest.raises(StoreMismatch, match=r"seed: 0 in the store, 1 now"):
        fit(Decay(), n_starts=2, seed=1, store=store)
    with pytest.raises(StoreMismatch, match=r"limits.evaluations: 1000 in the store, 9 now"):
        fit(Decay(), n_starts=2, limits=Limits(evaluations=9), store=store)
    with pytest.raises(StoreMismatch, match=r"changed: parameters; unchanged: model"):
        fit(Decay(upper=np.array([2.0, 1.0])), n_starts=2, store=store)
    assert essence(fit(Decay(), n_starts=2, store=store)) == essence(fit(Decay(), n_starts=2))


def test_settings_without_any_piece_bind_nobody(tmp_path):
    with Store(tmp_path / "s.sqlite", PROBLEM) as store:
        store.open_kind("start", {"seed": 0})
        pieces = store.open_kind("start", {"seed": 1})
        pieces.put(0, {})
        with pytest.raises(StoreMismatch, match=r"seed: 1 in the store, 0 now"):
            store.open_kind("start", {"seed": 0})
        store.open_kind("profile k_on", {"seed": 0})  # another kind has settings of its own


def test_only_missing_starts_are_run(tmp_path):
    """100 starts after 50: the first 50 are not evaluated again, and the number of workers does not matter."""
    log, store = tmp_path / "log", tmp_path / "fit.sqlite"
    objective = Slow(log=log)
    first = fit(objective, n_starts=5, store=store)
    calls = len(log.read_text().splitlines())
    assert calls == sum(start.evaluations for start in first.starts)
    whole = fit(objective, n_starts=10, store=store)
    assert len(log.read_text().splitlines()) == sum(start.evaluations for start in whole.starts)
    calls = len(log.read_text().splitlines())
    again = fit(objective, n_starts=10, store=store, workers=2)
    assert len(log.read_text().splitlines()) == calls
    assert essence(again) == essence(whole) == essence(fit(Decay(), n_starts=10))
    assert essence(fit(objective, n_starts=5, store=store)) == essence(first)
    assert essence(read_fit(store)) == essence(whole)


@pytest.mark.parametrize("keep", [0, 10, 100, 3000, -512])
def test_truncated_store_is_reported_and_left_alone(tmp_path, keep):
    store = tmp_path / "fit.sqlite"
    fit(Decay(), n_starts=10, store=store)
    rest = store.read_bytes()[:keep]
    store.write_bytes(rest)
    with pytest.raises(StoreDamaged, match=r"fit\.sqlite is damaged.*nothing in it was changed"):
        fit(Decay(), n_starts=10, store=store)
    with pytest.raises(StoreDamaged, match=r"fit\.sqlite is damaged"):
        read_fit(store)
    assert store.read_bytes() == rest


def test_flipped_digit_is_reported(tmp_path):
    store = tmp_path / "fit.sqlite"
    fit(Decay(), n_starts=3, store=store)
    connection = sqlite3.connect(store)
    with connection:
        connection.execute("""UPDATE pieces SET result = replace(result, '"value":', '"value":1') WHERE number = 1""")
    connection.close()
    with pytest.raises(StoreDamaged, match=r"damaged: start 1 is not what was written"):
        fit(Decay(), n_starts=3, store=store)


def test_foreign_files_are_left_alone(tmp_path):
    text, database = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("do not overwrite me, I am long enough to be something\n" * 5)
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE results (x)")
    connection.close()
    for path, message in ((text, "is damaged"), (database, "database of another program")):
        before = path.read_bytes()
        with pytest.raises(StoreDamaged, match=message):
            Store(path, PROBLEM)
        assert path.read_bytes() == before


def test_places_that_cannot_hold_a_store(tmp_path):
    with pytest.raises(InputError, match=r"is a folder"):
        Store(tmp_path, PROBLEM)
    with pytest.raises(InputError, match=r"folder of the store .* does not exist"):
        Store(tmp_path / "none" / "s.sqlite", PROBLEM)
    with pytest.raises(InputError, match=r"no store"):
        read_fit(tmp_path / "none.sqlite")


HOLD = """
import sys
from fits.store import Store
store = Store(sys.argv[1], {"model": "a1", "data": "b2"})
print("held", flush=True)
sys.stdin.read()
"""


def hold(path):
    """A process that holds the store until its standard input ends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_second_process_is_refused_by_name_and_kill_frees_the_store(tmp_path):
    path = tmp_path / "s.sqlite"
    holder = hold(path)
    try:
        with pytest.raises(StoreInUse, match=rf"s\.sqlite is in use by process {holder.pid} on .+ since 20"):
            Store(path, PROBLEM)
        holder.kill()
        holder.wait(10)
        Store(path, PROBLEM).close()  # the lock file of the dead process is there, but its lock is not
    finally:
        holder.kill()
        holder.communicate()


def test_same_process_is_refused_too(tmp_path):
    with Store(tmp_path / "s.sqlite", PROBLEM), pytest.raises(StoreInUse, match=r"already open in this process"):
        Store(tmp_path / "s.sqlite", PROBLEM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.sqlite"]


def test_reading_beside_a_writer(tmp_path):
    path = tmp_path / "fit.sqlite"
    whole = fit(Decay(), n_starts=3, store=path)
    with Store(path, Decay().fingerprint):
        assert essence(read_fit(path)) == essence(whole)


def test_store_has_neither_user_nor_place(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "run.py"), f"--store={tmp_path}/fit.sqlite"])
    fit(Decay(), n_starts=1, store=tmp_path / "fit.sqlite")
    assert str(tmp_path).encode() not in (tmp_path / "fit.sqlite").read_bytes()
    assert read_fit(tmp_path / "fit.sqlite").provenance.command == ("run.py", "--store=fit.sqlite")


def test_canonical_text_does_not_depend_on_order():
    assert canonical({"b": 1, "a": [np.float64(0.5), np.nan]}) == '{"a":[0.5,"nan"],"b":1}'
    assert json.loads(canonical({"x": np.int64(3)})) == {"x": 3}
