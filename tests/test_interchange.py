"""Results in other tools: CSV and Parquet with equal numbers, pandas, xarray, ArviZ."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from toys import Himmelblau

import kinetics as kin
from fits import cli
from fits.optimise import fit
from fits.sampling import sample
from fits.synergy.analysis import synergy
from kinetics.curves import hill
from kinetics.errors import InputError
from kinetics.interchange import write_table

DOSES = np.array([0.0, 0.1, 1.0, 10.0, 100.0])


def results() -> dict[str, object]:
    model = kin.Model.load("il7_stat5_imatinib")
    readout = kin.Readout.at("pSTAT5_total", "30 min")
    protocol = kin.DoseProtocol("IL7", kin.doses("1 pg/ml", "10 ng/ml", per_decade=1), readout)
    matrix = kin.dose_matrix(model, protocol, "Imatinib", ["0 uM", "1 uM", "3 uM"])
    one, two = np.meshgrid(DOSES, DOSES, indexing="ij")
    drugs = kin.DoseMatrix(
        DOSES, DOSES, hill(one, 1, 0.1, 1, 1) * hill(two, 1, 0.2, 2, 1), "uM", "nM", "", ("A", "B"), "viability"
    )
    return {
        "time course": kin.simulate(model, kin.Experiment(kin.Period(0.0, {"IL7": "1 ng/ml"})), [0.0, 10.0, 30.0]),
        "curve": kin.dose_response(model, protocol),
        "matrix": matrix,
        "synergy": synergy(drugs, ["bliss", "loewe"], n=0),
    }


@pytest.fixture(scope="module")
def made() -> dict[str, object]:
    return results()


@pytest.mark.parametrize("name", ["time course", "curve", "matrix", "synergy"])
def test_tables_come_back_with_equal_numbers_and_units(made, name, tmp_path):
    frame = made[name].to_frame()
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        path = tmp_path / f"table{ending}"
        write_table(made[name], path)
        back = read(path)
        assert list(back.columns) == list(frame.columns)
        for column in frame.columns:
            if pd.api.types.is_numeric_dtype(frame[column]):
                assert_array_equal(back[column].to_numpy(float), frame[column].to_numpy(float))
            else:
                assert list(back[column].fillna("")) == list(frame[column])
    assert any("unit" in column for column in frame.columns)


def test_a_fit_is_a_table_of_its_starts(tmp_path):
    found = fit(Himmelblau(), n_starts=3, seed=1)
    write_table(found, tmp_path / "fit.parquet")
    back = pd.read_parquet(tmp_path / "fit.parquet")
    assert_frame_equal(back, found.to_frame(), check_dtype=False)
    assert list(back["objective"]) == list(found.values)


def test_samples_open_in_arviz_and_their_summary_is_a_table(tmp_path):
    with warnings.catch_warnings():  # of ArviZ's own future, at import
        warnings.simplefilter("ignore")
        pytest.importorskip("arviz", reason="ArviZ is not installed")
    bowl = Himmelblau()
    chain = sample(bowl, [3.0, 2.0], 60, seed=1)
    data = chain.to_inference_data()
    assert set(data.posterior.data_vars) == set(bowl.names)
    write_table(chain, tmp_path / "samples.csv")
    assert list(pd.read_csv(tmp_path / "samples.csv")["parameter"]) == list(bowl.names)


def test_grids_open_in_xarray_with_units(made, tmp_path):
    xarray = pytest.importorskip("xarray")
    matrix = made["matrix"].to_xarray()
    assert matrix.dims == ("IL7", "Imatinib")
    assert matrix["Imatinib"].attrs["units"] == "uM"
    assert_array_equal(matrix.to_numpy(), made["matrix"].responses)
    scored = made["synergy"].to_xarray()
    assert_array_equal(scored["excess"].sel(model="Bliss").to_numpy(), made["synergy"].scores["bliss"].excess)
    path = tmp_path / "scores.nc"
    scored.to_netcdf(path, engine="scipy")
    with xarray.open_dataset(path, engine="scipy") as back:
        assert_array_equal(back["expected"].to_numpy(), scored["expected"].to_numpy())
        assert back["dose1"].attrs == {"units": "uM", "long_name": "A"}
    course = made["time course"].to_xarray()
    assert course["time"].attrs["units"] == "min"


def test_endings_and_existing_files_are_checked(made, tmp_path):
    with pytest.raises(InputError, match=r"written as \.csv or \.parquet"):
        write_table(made["curve"], tmp_path / "curve.xlsx")
    path = tmp_path / "curve.csv"
    write_table(made["curve"], path)
    with pytest.raises(InputError, match="exists and is left as it is"):
        write_table(made["curve"], path)
    write_table(made["curve"], path, overwrite=True)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["curve.csv"]


def test_parquet_without_pyarrow_says_what_to_install(made, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "pyarrow" else find(name, *a))
    with pytest.raises(InputError, match=r"pip install 'cytokine-kinetics\[parquet\]'"):
        write_table(made["curve"], tmp_path / "curve.parquet")


def test_the_command_writes_parquet(tmp_path, capsys):
    path = tmp_path / "curve.parquet"
    words = ["dose-response", "il7_stat5_imatinib", "--doses", "0.1,1,10 ng/ml", "--parquet"]
    assert cli.main([*words, str(path)]) == 0
    frame = pd.read_parquet(path)
    assert list(frame["dose"]) == [0.1, 1.0, 10.0] and set(frame["dose_unit"]) == {"ng/ml"}
    capsys.readouterr()
    assert cli.main([*words, str(path)]) == 2
    assert cli.main([*words, str(tmp_path / "curve.csv")]) == 2
    assert "--parquet writes .parquet" in capsys.readouterr().err
