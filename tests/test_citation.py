"""CITATION.cff says what it must, in the words of the Citation File Format 1.2.0, and agrees with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# Keys of the format (https://github.com/citation-file-format/citation-file-format, schema 1.2.0).
TOP = {
    "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "title", "type", "url", "version",
}  # fmt: skip
PERSON = {
    "address", "affiliation", "alias", "city", "country", "email", "family-names", "fax", "given-names",
    "name-particle", "name-suffix", "orcid", "post-code", "region", "tel", "website",
}  # fmt: skip
ENTITY = {
    "address", "alias", "city", "country", "date-end", "date-start", "email", "fax", "location", "name", "orcid",
    "post-code", "region", "tel", "website",
}  # fmt: skip
REFERENCE_TYPES = {"article", "book", "conference-paper", "data", "database", "manual", "software", "thesis"}
DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-\.\(\)\[\]\\]+")


def faults(citation: dict[str, Any]) -> list[str]:
    """What the format would refuse."""
    found = [f"unknown key {key}" for key in citation.keys() - TOP]
    found += [f"no {key}" for key in ("authors", "cff-version", "message", "title") if not citation.get(key)]
    if citation.get("type", "software") not in ("software", "dataset"):
        found.append(f"type {citation['type']}")
    found += people(citation.get("authors", []))
    found += [f"keyword {word!r}" for word in citation.get("keywords", []) if not isinstance(word, str) or not word]
    if "date-released" in citation:
        try:
            date.fromisoformat(str(citation["date-released"]))
        except ValueError:
            found.append(f"date {citation['date-released']}")
    if "version" in citation and not isinstance(citation["version"], str | int | float):
        found.append("version")
    for reference in citation.get("references", []):
        found += [f"reference without {key}" for key in ("authors", "title", "type") if not reference.get(key)]
        found += people(reference.get("authors", []))
        if reference.get("type") not in REFERENCE_TYPES:
            found.append(f"reference of type {reference.get('type')}")
        if "doi" in reference and not DOI.fullmatch(reference["doi"]):
            found.append(f"doi {reference['doi']}")
        found += [f"{key} is no text or number" for key in ("start", "end") if isinstance(reference.get(key), list)]
    return found


def people(authors: list[dict[str, Any]]) -> list[str]:
    found = []
    for author in authors:
        known = ENTITY if "name" in author else PERSON
        found += [f"{author}: unknown {key}" for key in author.keys() - known]
        if not (author.get("name") or author.get("family-names") or author.get("given-names") or author.get("alias")):
            found.append(f"{author} has no name")
    return found


@pytest.fixture
def citation() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_it_is_a_citation_file(citation):
    assert citation["cff-version"] == "1.2.0"
    assert faults(citation) == []


def test_it_agrees_with_the_package(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["title"].startswith(project["name"])
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"authors": []}, "no authors"),
        ({"autors": []}, "unknown key autors"),
        ({"type": "article"}, "type article"),
        ({"date-released": "21.11.2026"}, "date 21.11.2026"),
        ({"authors": [{"nom": "A"}]}, "{'nom': 'A'}: unknown nom"),
        ({"references": [{"type": "article", "title": "T", "authors": [{"name": "A"}], "doi": "x"}]}, "doi x"),
    ],
)
def test_faults_are_found(citation, change, fault):
    assert fault in faults({**citation, **change})
