"""The catalogue of models and ligands: what it lists exists, and every number has a source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kinetics import catalogue
from kinetics.catalogue import LABELS, find_ligand, find_model, ligands, models, parameter_sources
from kinetics.errors import InvalidModel, ModelNotFound, UnknownName

ROOT = Path(__file__).parents[1]
SBML = "{http://www.sbml.org/sbml/level3/version2/core}"
NAMES = [entry.name for entry in models()]

# IUPAC 2021 abridged, g/mol
ATOMIC_WEIGHT = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "P": 30.974, "S": 32.06, "Cl": 35.45,
    "Br": 79.904, "I": 126.904,
}  # fmt: skip


def _symbols(name: str, *kinds: str) -> set[str]:
    root = ElementTree.fromstring(find_model(name).sbml())
    return {e.attrib["id"] for kind in kinds for e in root.iter(f"{SBML}{kind}")}


# ---- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_entry_names_only_what_the_model_has(name):
    entry = find_model(name)
    species, parameters = _symbols(name, "species"), _symbols(name, "parameter")
    everything = species | parameters | _symbols(name, "compartment")
    assert {entry.ligand, *entry.ligands, *([entry.drug] if entry.drug else [])} <= everything
    assert entry.readout in entry.readouts
    for readout in entry.readouts.values():
        assert set(re.findall(r"[A-Za-z_]\w*", readout.formula)) <= everything, readout.name
        assert readout.unit and readout.description, readout.name
        assert readout.name == readout.formula or readout.name not in everything, readout.name  # one meaning
    for variant in (*entry.variants.values(), *entry.mechanisms.values()):
        assert set(variant.values) <= parameters, variant.name
        assert variant.title, variant.name
    for protocol in entry.protocols.values():
        assert protocol.readout in entry.readouts, protocol.name
        assert protocol.ligand in everything, protocol.name
        assert {key for step in protocol.steps for key in step.changes} <= everything, protocol.name


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_and_protocol_has_label_and_source(name):
    entry = find_model(name)
    for item in (*entry.variants.values(), *entry.protocols.values()):
        assert item.label in LABELS, item.name
        assert item.source, item.name


@pytest.mark.parametrize("name", NAMES)
def test_a_molar_mass_is_known_for_every_ligand_of_a_model(name):
    for ligand in find_model(name).ligands.values():
        assert find_ligand(ligand).name == ligand


READABLE = {"per_ul": "1/ul", "pg_per_ml": "pg/ml"}  # ids of units that cannot be spelt as people write them


@pytest.mark.parametrize("name", NAMES)
def test_readouts_of_a_symbol_have_its_unit(name):
    root = ElementTree.fromstring(find_model(name).sbml())
    units = {e.attrib["id"]: e.attrib.get("units", "") for e in root.iter(f"{SBML}parameter")}
    for readout in find_model(name).readouts.values():
        if readout.formula in units:
            assert readout.unit == READABLE.get(units[readout.formula], units[readout.formula]), readout.name


def test_paper_protocol_is_the_one_in_the_methods():
    """Thiant 2017: 24 h imatinib 3 uM, wash, 1 h serum-free medium, IL-7 for 30 min at 2e6 cells/ml."""
    protocol = find_model("il7_stat5_imatinib").protocols["thiant_2017"]
    assert [(step.duration, dict(step.changes)) for step in protocol.steps] == [
        ("24 h", {"Imatinib": "3 uM"}),
        ("1 h", {"Imatinib": 0}),
    ]
    assert (protocol.ligand, protocol.read_at, protocol.label) == ("IL7", "30 min", "paper")


def test_control_arm_differs_in_the_drug_alone():
    protocol = find_model("il7_stat5_imatinib").protocols["thiant_2017"]
    control = protocol.without("Imatinib")
    assert [step.duration for step in control] == [step.duration for step in protocol.steps]
    assert [dict(step.changes) for step in control] == [{"Imatinib": 0.0}, {"Imatinib": 0.0}]
    assert protocol.without("Ruxolitinib") == protocol.steps


def test_memory_CD8_carry_the_fewest_receptors():
    variants = find_model("il7_stat5_imatinib").variants
    subsets = ("T_helper", "naive_CD4", "memory_CD4", "CD8", "naive_CD8", "memory_CD8")
    numbers = {name: variants[name].values["IL7R_number"] for name in subsets}
    assert min(numbers, key=lambda name: numbers[name]) == "memory_CD8"
    assert "n = 2" in variants["memory_CD8"].note  # the reservation travels with the number


def test_default_variant_is_what_the_model_holds():
    root = ElementTree.fromstring(find_model("il7_stat5_imatinib").sbml())
    held = {e.attrib["id"]: float(e.attrib["value"]) for e in root.iter(f"{SBML}parameter") if "value" in e.attrib}
    values = find_model("il7_stat5_imatinib").variants["T_helper"].values
    assert {name: held[name] for name in values} == dict(values)


def test_a_misspelt_model_is_told_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'il7_stat5_imatinib'"):
        find_model("il7_stat5_imatinb")


def test_entries_cannot_be_changed():
    """They are shared by everybody in the process."""
    entry = find_model("il7_stat5_imatinib")
    with pytest.raises(TypeError):
        entry.variants["T_helper"].values["IL7R_number"] = 1.0  # type: ignore[index]
    with pytest.raises(TypeError):
        entry.readouts["mine"] = entry.readouts["BCL2"]  # type: ignore[index]


# ---- sources of parameters -------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_with_a_value_has_a_source(name):
    root = ElementTree.fromstring(find_model(name).sbml())
    ruled = {e.attrib["variable"] for kind in ("assignmentRule", "rateRule") for e in root.iter(f"{SBML}{kind}")}
    sources = parameter_sources(name)
    assert _symbols(name, "parameter") - ruled <= set(sources)
    assert all(source.label in LABELS and source.source and source.unit for source in sources.values())


def test_a_source_is_read_in_its_parts():
    source = parameter_sources("il7_stat5_imatinib")["kon"]
    assert (source.unit, source.label) == ("1/nM/min", "looked up")
    assert "gc-cytokines" in source.source
    assert "on-rate" in source.note


@pytest.mark.parametrize("note", ["1/min; certain; me; rate", "1/min", "", "1/min; paper"])
def test_a_note_without_label_or_source_is_an_error(monkeypatch, note):
    real = catalogue._read
    monkeypatch.setattr(catalogue, "_read", lambda file: f'k notes "{note}"\n' if file.endswith(".ant") else real(file))
    parameter_sources.cache_clear()
    try:
        with pytest.raises(InvalidModel, match="'k'"):
            parameter_sources("il7_stat5_imatinib")
    finally:
        parameter_sources.cache_clear()


# ---- ligands ---------------------------------------------------------------------------------------


def test_one_nanogram_of_il7_is_57_pM():
    """57.5 pM at 17.4 kDa, 40 pM if glycosylated (25 kDa)."""
    assert 1e-6 / find_ligand("IL-7").molar_mass * 1e12 == pytest.approx(57.5, abs=0.05)  # pM per ng/ml
    assert 1e-6 / find_ligand("IL-7 glycosylated").molar_mass * 1e12 == pytest.approx(40.0)


@pytest.mark.parametrize("ligand", [each for each in ligands() if each.formula], ids=lambda each: each.name)
def test_molar_mass_follows_from_the_formula(ligand):
    atoms = re.findall(r"([A-Z][a-z]?)(\d*)", ligand.formula)
    mass = sum(ATOMIC_WEIGHT[symbol] * int(count or 1) for symbol, count in atoms)
    assert ligand.molar_mass == pytest.approx(mass, abs=0.06)  # given with one digit after the point


@pytest.mark.parametrize("name", ["imatinib", "IMATINIB", " Im ", "sti571"])
def test_a_ligand_has_many_names(name):
    assert find_ligand(name).name == "imatinib"


def test_no_two_ligands_share_a_name():
    names = [name.casefold() for ligand in ligands() for name in (ligand.name, *ligand.aliases)]
    assert len(names) == len(set(names))


def test_every_ligand_has_label_and_source():
    assert all(ligand.label in LABELS and ligand.source and ligand.molar_mass > 0 for ligand in ligands())


def test_a_misspelt_ligand_is_told_the_nearest():
    with pytest.raises(UnknownName, match=r"did you mean .*'imatinib'"):
        find_ligand("imatinb")


# ---- installed anywhere, and quick -----------------------------------------------------------------


def test_catalogue_imports_nothing_heavy():
    tree = ast.parse((ROOT / "kinetics" / "catalogue.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    outside = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert outside == {"kinetics.errors"}


def test_catalogue_works_out_of_an_archive(tmp_path):
    """A zip of the two packages stands for any installation: nothing is found by its place on disk."""
    archive = tmp_path / "installed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("kinetics/__init__.py", "")
        for module in ("catalogue", "errors"):
            packed.write(ROOT / "kinetics" / f"{module}.py", f"kinetics/{module}.py")
        for file in (ROOT / "sbml").iterdir():
            if file.is_file():
                packed.write(file, f"sbml/{file.name}")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from kinetics.catalogue import find_model, parameter_sources\n"
        "entry = find_model('il7_stat5_imatinib')\n"
        "print(len(entry.sbml()), len(parameter_sources(entry.name)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(archive)], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    entry = find_model("il7_stat5_imatinib")
    assert done.stdout.split() == [str(len(entry.sbml())), str(len(parameter_sources(entry.name)))]


def test_a_missing_file_is_named(monkeypatch):
    monkeypatch.setattr(catalogue.resources, "files", lambda package: Path("/nonexistent"))
    with pytest.raises(ModelNotFound, match=re.escape("'sbml/il7_stat5_imatinib.xml'")):
        find_model("il7_stat5_imatinib").sbml()
