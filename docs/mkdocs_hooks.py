"""What the site is made of, so that a new page, notebook or module is in it without being listed anywhere.

The home page is the README; "what this does not do" is its section of that kind.  Tutorials are the notebooks.
The reference follows the tables of `architecture.md`, which a test keeps complete.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LIMITS = "What is not here"  # the section of the README
FIRST = ("problem-files.md", "data.md", "benchmarks.md", "architecture.md")
_ROW = re.compile(r"^\| `(\w+)\.py` \| (.*) \|$", re.MULTILINE)  # of a table of modules
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """The navigation: everything there is, in an order that does not depend on who wrote it."""
    others = [f"{name}" for name in FIRST] + sorted(
        path.name for path in DOCS.glob("*.md") if path.name not in (*FIRST, "index.md")
    )
    config["nav"] = [
        {"Home": "index.md"},
        {"Tutorials": [f"tutorials/{path.name}" for path in notebooks()]},
        {"How-to": pages("how-to")},
        {"Models": pages("models")},
        {"Reference": ["reference/command-line.md", *(f"reference/{name}.md" for name in sections())]},
        {"What this does not do": "what-this-does-not-do.md"},
        {"Background": [*others, {"Decisions": pages("decisions")}, {"Changelog": "changelog.md"}]},
    ]
    return config


def pages(folder: str) -> list[str]:
    """The pages of a folder of docs/."""
    return sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / folder).glob("*.md"))


def notebooks() -> list[Path]:
    """The tutorials."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


@event_priority(100)  # before the plugin that knows notebooks looks at the files
def on_files(files: Files, config: Any) -> Files:
    """Add what does not lie in docs/ as it is shown."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    made = {
        "index.md": relinked(readme),
        "what-this-does-not-do.md": "# What this does not do\n\n" + relinked(section(readme, LIMITS)),
        "changelog.md": relinked((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
        "reference/command-line.md": command_line(),
        **{f"reference/{name}.md": text for name, text in reference().items()},
    }
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    for path in notebooks():
        files.append(File.generated(config, f"tutorials/{path.name}", abs_src_path=str(path)))
    return files


def on_nav(nav: Any, config: Any, files: Files) -> Any:
    """The plugin wraps notebooks and forgets where they lie."""
    for path in notebooks():
        found = files.get_file_from_path(f"tutorials/{path.name}")
        if found is not None:
            found.abs_src_path = str(path)
    return nav


def section(text: str, title: str) -> str:
    """What stands below a heading of the second level.

    Raises:
        ValueError: there is no such heading.
    """
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"the README has no section {title!r}, which a page of the site is made of")
    return found.group(1)


def relinked(text: str) -> str:
    """Links of the README as links of the site; what is not in the site stays as words."""

    def target(match: re.Match[str]) -> str:
        mark, words, link = match.groups()
        if "://" in link or link.startswith("#"):
            return match.group(0)
        if link.startswith("docs/"):
            inside = link.removeprefix("docs/")
            return f"{mark}[{words}]({inside})" if (DOCS / inside).is_file() else words
        if link.startswith("notebooks/"):
            return f"{mark}[{words}]({link.replace('notebooks/', 'tutorials/')})"
        return f"[{words}](changelog.md)" if link == "CHANGELOG.md" else words

    return _LINK.sub(target, text)


# --- reference ----------------------------------------------------------------------------------------------


def sections() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """By name of the page: its title, and the modules of that table of architecture.md with what they hold."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    heading = re.compile(r"^### (`(?:kinetics|fits)/`[^\n]*)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
    for title, body in heading.findall(text):
        package = title[1:].partition("/")[0]
        rows = [(f"{package}.{name}", holds) for name, holds in _ROW.findall(body)]
        words = title.replace("`", "").replace("/", "")
        name = re.sub(r"\W+", "-", words.lower()).strip("-")
        if rows:
            found[name] = (words, rows)
    if not found:
        raise ValueError("docs/architecture.md has no tables of modules any more, which the reference is made of")
    return found


def reference() -> dict[str, str]:
    """The text of every page of the reference."""
    made = {}
    for name, (title, rows) in sections().items():
        table = "".join(f"| [`{module}`][{module}] | {holds} |\n" for module, holds in rows)
        body = "".join(f"::: {module}\n\n" for module, _ in rows)
        made[name] = f"# {title}\n\n| module | holds |\n|---|---|\n{table}\n{body}"
    return made


def command_line() -> str:
    """Every command with its options, as ``--help`` prints them."""
    sys.path.insert(0, str(ROOT))
    try:
        from fits.cli import parser
    finally:
        sys.path.remove(str(ROOT))
    top = parser()
    said = ["# Command line", "", "```text", top.format_help().strip(), "```", ""]
    choices = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction)).choices
    for name, command in choices.items():
        said += [f"## kinetics {name}", "", "```text", command.format_help().strip(), "```", ""]
    return "\n".join(said)
