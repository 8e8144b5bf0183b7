"""What the pages of this project share: one HTML file that loads nothing and can be read on a phone.

Every string that came from data is escaped; figures are inlined; a content security policy forbids the browser to
fetch anything, should an escape ever be forgotten.
"""

from __future__ import annotations

import base64
import html
import math
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from kinetics.errors import InputError

FIGURE_SIZE = (5.3, 3.9)  # inches; small enough that words in it stay readable on a phone
PROSE = 40  # characters from which on a cell of a table is prose


# --- text ---------------------------------------------------------------------------------------------------


def escaped(text: object) -> str:
    """Escaped, and without control characters, which HTML forbids."""
    return html.escape("".join(c if c >= " " or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


_DOI = re.compile(r"doi:(10\.\d{4,9}/[A-Za-z0-9._()/-]*[A-Za-z0-9])")


def linked(text: str) -> str:
    """Escaped, with DOIs as links; the pattern leaves no room for anything but a DOI."""
    return _DOI.sub(r'<a href="https://doi.org/\1" rel="noreferrer">doi:\1</a>', escaped(text))


def number(value: float, unit: str = "") -> str:
    """Three digits and the unit, escaped; words where it is no number."""
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "not reached"
    return escaped(f"{value:.3g} {unit}".rstrip())


def sentence_list(sentences: Sequence[str]) -> str:
    """Sentences as a list; nothing where there are none."""
    return f"<ul>{''.join(f'<li>{linked(text)}</li>' for text in sentences)}</ul>" if sentences else ""


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself on a narrow screen; cells are HTML already."""
    head = "".join(f'<th scope="col">{escaped(item)}</th>' for item in heads)
    body = "".join(f'<tr><th scope="row">{first}</th>{"".join(map(_cell, rest))}</tr>' for first, *rest in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """A cell; prose gets room, or one long cell would make its row as high as the screen."""
    return f'<td class="prose">{text}</td>' if len(text) > PROSE else f"<td>{text}</td>"


def tile_list(tiles: Iterable[tuple[object, str, str]]) -> str:
    """The numbers at the top: number, what it counts, and "holds", "fails", "open" or "how"."""
    return '<ul class="tiles">' + "".join(
        f'<li class="{kind}"><b>{escaped(value)}</b> <span>{escaped(text)}</span></li>' for value, text, kind in tiles
    ) + "</ul>"  # fmt: skip


def image(svg: str, alt: str) -> str:
    """A drawing as part of the page."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escaped(alt)}">'


def figure(svg: str, alt: str, title: str, caption: str) -> str:
    """A drawing with words below it; ``caption`` is HTML already."""
    return f"<figure>{image(svg, alt)}<figcaption><strong>{escaped(title)}.</strong> {caption}</figcaption></figure>"


def folded(summary: str, body: str) -> str:
    """What is shown when somebody asks for it."""
    return f"<details><summary>{escaped(summary)}</summary>{body}</details>"


def document(generator: str, title: str, lead: str, above: str, links: Iterable[tuple[str, str]], main: str) -> str:
    """The whole page.

    Args:
        generator: what made it; `check_target` knows its own pages by this.
        lead: what is to be known first.
        above: HTML between the lead and the links to sections.
        links: anchor and title of the sections.
        main: HTML of the sections.
    """
    nav = "".join(f'<li><a href="#{anchor}">{escaped(name)}</a></li>' for anchor, name in links)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{escaped(generator)}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escaped(title)}</h1>
<p class="lead">{escaped(lead)}</p>
{above}
<nav aria-label="Sections"><ul>{nav}</ul></nav>
</header>
<main>
{main}
</main>
</body>
</html>
"""


# --- files --------------------------------------------------------------------------------------------------


def check_target(path: str | os.PathLike[str], generator: str, *, force: bool = False) -> None:
    """Refuse a place where the page cannot or must not be written, before anything is computed.

    An earlier page of the same generator may be replaced; any other file only with ``force``.

    Raises:
        InputError: saying why.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"cannot write {str(path)!r}: it is a folder")
    if not target.resolve().parent.is_dir():
        raise InputError(f"cannot write {str(path)!r}: its folder does not exist")
    if target.exists() and not force:
        with target.open("rb") as file:
            if escaped(generator).encode() not in file.read(4096):
                command = generator.rpartition(" ")[2]
                raise InputError(f"{str(path)!r} exists and is no page of {command!r}; pass --force to overwrite it")


def write_whole(text: str, path: str | os.PathLike[str]) -> None:
    """Write the page; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(path)
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.resolve().parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(beside, 0o644)  # mkstemp keeps it to its owner, which is no use for a page
        os.replace(beside, target)
    finally:
        Path(beside).unlink(missing_ok=True)


# --- look ---------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5a6675; --line: #d9dee5; --paper: #fff; --wash: #f5f7f9;
  --good: #00674a; --bad: #a33b00; --blue: #0b5a91; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 52rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 1rem; padding-bottom: .3rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.02rem; line-height: 1.4; margin: 0; }
a { color: var(--blue); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid #56b4e9; outline-offset: 2px; }
.lead { font-size: 1.15rem; margin: 0 0 1rem; color: var(--soft); }
.tiles { list-style: none; display: grid; grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr)); gap: .6rem;
  margin: 0 0 1.2rem; padding: 0; }
.tiles li { background: var(--wash); border-top: 3px solid var(--line); border-radius: 4px; padding: .6rem .75rem; }
.tiles b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles span { font-size: .85rem; color: var(--soft); }
.tiles .holds { border-color: var(--good); } .tiles .fails { border-color: var(--bad); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 0; padding: 0;
  font-size: .95rem; }
article { border: 1px solid var(--line); border-left: 4px solid var(--line); border-radius: 4px;
  padding: .9rem 1rem; margin: 0 0 .9rem; }
article.fails { border-left-color: var(--bad); } article.holds { border-left-color: var(--good); }
.id { color: var(--soft); font-variant-numeric: tabular-nums; margin-right: .3rem; }
.marks { margin: .35rem 0 .6rem; font-size: .87rem; color: var(--soft); }
.badge { display: inline-block; padding: .05rem .5rem; border-radius: 3px; font-weight: 600; color: #fff;
  background: var(--soft); margin-right: .4rem; }
.badge.fails { background: var(--bad); } .badge.holds { background: var(--good); }
dl { display: grid; grid-template-columns: 6rem 1fr; gap: .25rem .8rem; margin: 0; font-size: .93rem; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
figure { margin: 0 0 .5rem; } figure img { display: block; width: 100%; max-width: 40rem; height: auto; }
figcaption { font-size: .93rem; margin: .4rem 0 .9rem; max-width: 44rem; }
.scroll { overflow-x: auto; margin: 0 0 2rem; }
table { border-collapse: collapse; font-size: .9rem; min-width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; white-space: nowrap; } tbody th { font-weight: 500; min-width: 9rem; }
td.prose { min-width: 16rem; }
details { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .9rem; margin: 0 0 .7rem; }
details[open] summary { margin-bottom: .8rem; } summary { cursor: pointer; }
details td { min-width: 6rem; } details tbody th { min-width: 3.5rem; }
details td:nth-child(2), details td:nth-child(4) { min-width: 16rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .45rem; }
  dt { font-size: .82rem; } h1 { font-size: 1.45rem; } }
@media print { body { max-width: none; padding: 0; } article, figure { break-inside: avoid; } nav { display: none; } }
"""
