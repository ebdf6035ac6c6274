"""The report as one self-contained HTML file, without scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape as escape_html

from inkdrop.explain.section import Section
from inkdrop.printable import printable

FILM = 480  # pixels; the width of a film on the page, 30rem

STYLE = """
:root { color-scheme: light dark; --ink: #12355b; --text: #1f2a36; --soft: #5f6b78;
  --page: #fbfbf9; --line: #dfe5ec; --accent: #c43d50; --wash: #f0f4f8; }
@media (prefers-color-scheme: dark) { :root { --ink: #a9c9ee; --text: #dbe3ec; --soft: #93a1b1;
  --page: #0d1520; --line: #26344a; --accent: #f28b98; --wash: #142031; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 1.06rem/1.65 Charter, "Iowan Old Style", "Source Serif 4", Georgia, serif; }
main, header, footer { max-width: 48rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: clamp(2.5rem, 9vw, 6rem); }
h1, h2, nav, figcaption, table, dl, footer, .name {
  font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: clamp(1.9rem, 6vw, 2.9rem); line-height: 1.12; letter-spacing: -.02em;
  color: var(--ink); margin: .4rem 0 1rem; text-wrap: balance; }
.drop { width: 2.2rem; height: 2.2rem; display: block; fill: var(--ink); }
.lead { font-size: 1.2rem; color: var(--soft); text-wrap: pretty; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 2rem 0;
  padding: 1.1rem 1.3rem; background: var(--wash); border-radius: .7rem; font-size: .93rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
nav ol { padding-left: 1.3rem; columns: 17rem 2; font-size: .95rem; }
nav li { margin: .15rem 0; } a { color: var(--ink); text-underline-offset: .2em; }
section { margin-top: 4.5rem; border-top: 1px solid var(--line); padding-top: 1.6rem; }
h2 { font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; color: var(--ink);
  margin: 0 0 1rem; }
h2 .number { color: var(--accent); margin-right: .55rem; font-variant-numeric: tabular-nums; }
p { margin: .9rem 0; text-wrap: pretty; hyphens: auto; }
figure { margin: 1.8rem 0; }
.paper { background: #fff; border: 1px solid var(--line); border-radius: .7rem; padding: .7rem;
  overflow-x: auto; }
.paper img { display: block; width: 100%; min-width: 34rem; height: auto; }
.film img { display: block; width: 100%; max-width: 30rem; margin: 0 auto; height: auto;
  min-width: 0; border-radius: .4rem; }
.small img { image-rendering: pixelated; }
.film { text-align: center; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .6rem; }
@media (prefers-reduced-motion: reduce) { .film { display: none; } }
.eq { display: flex; align-items: center; gap: 1rem; margin: 1.3rem 0; padding: .8rem 1rem;
  background: var(--wash); border-radius: .6rem; overflow-x: auto; }
.math { font-size: 1.12rem; white-space: nowrap; margin: 0 auto; font-family: "STIX Two Math",
  "Cambria Math", Cambria, "Latin Modern Math", "Times New Roman", serif; }
sub { font-size: .7em; line-height: 0; font-style: italic; } sub.up { font-style: normal; }
sup { font-size: .72em; line-height: 0; }
 .name { color: var(--soft); font-size: .85rem; }
.frac { display: inline-flex; flex-direction: column; vertical-align: middle; text-align: center;
  line-height: 1.45; padding: 0 .2em; }
.frac > span + span { border-top: 1px solid currentColor; padding-top: .1em; }
.wide { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums;
  width: 100%; white-space: nowrap; }
caption { caption-side: bottom; text-align: left; color: var(--soft); padding-top: .6rem;
  white-space: normal; }
th, td { text-align: right; padding: .35rem .7rem; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; }
footer { margin-top: 5rem; padding-bottom: 4rem; color: var(--soft); font-size: .88rem; }
@media print { body { background: #fff; } section { break-inside: avoid-page; } }
"""

DROP = (
    '<svg class="drop" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 1.5c3.6 4.9 7 8.6 7'
    ' 13.1a7 7 0 0 1-14 0c0-4.5 3.4-8.2 7-13.1z"/></svg>'
)


def page(
    title: str,
    lead: str,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[tuple[Section, bytes | None, bytes | None]],
    foot: str,
) -> str:
    """The whole report as HTML; each section with its PNG and its WebP, or None."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    contents = "".join(
        f'<li><a href="#{section.name}">{escape(section.title)}</a></li>'
        for section, _, _ in sections
    )
    body = "".join(_section(i + 1, *one) for i, one in enumerate(sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>{DROP}<h1>{escape(title)}</h1><p class='lead'>{escape(lead)}</p>"
        f"<dl>{listed}</dl><nav aria-label='Contents'><ol>{contents}</ol></nav></header>\n"
        f"<main>{body}</main>\n<footer>{escape(foot)}</footer>\n</body>\n</html>\n"
    )


def escape(text: str) -> str:
    """Text as HTML shows it; names from files and users may contain anything."""
    return escape_html(printable(text))


def _section(number: int, section: Section, png: bytes | None, webp: bytes | None) -> str:
    head = f'<h2><span class="number">{number}</span>{escape(section.title)}</h2>'
    figure = ""
    if webp is not None:
        film = _image(webp, "webp", f"{section.alt}, moving")
        small = " small" if section.film[0].width < FILM else ""  # enlarged: keep pixels sharp
        figure += f'<figure class="film{small}">{film}</figure>'
    if png is not None:
        figure += f'<figure><div class="paper">{_image(png, "png", section.alt)}</div></figure>'
    content = f"{head}{section.words}{figure}{section.after}"
    return f'\n<section id="{section.name}">{content}</section>\n'


def _image(content: bytes, kind: str, alt: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{data}">'
