"""The frame of every HTML page that goes to a teacher or a student.

Pages open offline, need no script, follow the reader's light or dark setting, and show all text
that came from a submission as text.
"""

import html
import re
import unicodedata

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6575; --paper: #ffffff;
  --card: #f5f7fa; --line: #d5dbe4; --good: #1f7a3d; --bad: #b3461a;
  --idle: #7a8494; --link: #1d5fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a8b2c1; --paper: #14181f;
  --card: #1e242e; --line: #3a4352; --good: #6cc98a; --bad: #f0996b;
  --idle: #8f9aab; --link: #8fbdf5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); line-height: 1.5; font-family: system-ui, "Segoe UI", "Apple SD Gothic Neo",
  "Malgun Gothic", "Noto Sans KR", "Noto Sans CJK KR", NanumGothic, sans-serif; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; }
a { color: var(--link); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; vertical-align: top; }
td.number, th.number { text-align: right; }
td.number, td code { white-space: nowrap; }
th { overflow-wrap: normal; }
code, pre { font-family: ui-monospace, Menlo, Consolas, "D2Coding", monospace; font-size: .92em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0; }
article { background: var(--card); border-left: 5px solid var(--idle); border-radius: 4px;
  padding: .7rem 1rem; margin: .9rem 0; }
article.passed { border-color: var(--good); } article.failed { border-color: var(--bad); }
article p { margin: .4rem 0 0; }
article h3 { margin: 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline; }
.verdict { font-size: .9rem; font-weight: 600; } .passed .verdict { color: var(--good); }
.failed .verdict { color: var(--bad); } .soft { color: var(--soft); font-size: .9rem; }
.mistake { margin: .6rem 0; } .mistake b { display: block; } .pictures { overflow-x: auto; }
.note { border: 1px solid var(--line); border-radius: 4px; padding: .5rem .8rem; margin: .8rem 0; }
svg text { fill: var(--ink); font: 13px system-ui, "Noto Sans KR", NanumGothic, sans-serif; }
svg .soft { fill: var(--soft); font-size: 12px; }
svg .good, .key .good { fill: var(--good); } svg .bad { fill: var(--bad); }
svg .idle { fill: var(--idle); } svg .track { fill: var(--line); }
svg.chart { max-width: 100%; height: auto; display: block; margin: .8rem 0; }
@media print { body { max-width: none; } article { break-inside: avoid; } }
"""

_ODD = re.compile(  # control characters, and marks that turn the direction of writing
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title, body):
    """A whole HTML document; ``title`` is text, ``body`` is HTML."""
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
            f"<body>\n{body}\n</body></html>\n")


def clean(text):
    """Text that every file and page can hold and that cannot disguise what stands around it."""
    text = _ODD.sub("\N{REPLACEMENT CHARACTER}", str(text))
    text = text.encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFC", text)  # Korean names from a Mac come decomposed


def escape(text):
    """Text as HTML, whatever it holds."""
    return html.escape(clean(text))


def name_of(text):
    """Someone's name as HTML; its writing direction cannot spill over to what follows."""
    return f"<bdi>{escape(text)}</bdi>"


def element(tag, content, **attributes):
    """``<tag class="…">content</tag>``; content is HTML; ``class_`` is class, ``a_b`` is a-b."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
                    for key, value in attributes.items())
    return f"<{tag}{given}>{content}</{tag}>"


def row(cells, tag="td", numbers=()):
    """A table's row of HTML cells; those at the positions ``numbers`` are set to the right."""
    return element("tr", "".join(
        element(tag, cell, class_="number") if at in numbers else element(tag, cell)
        for at, cell in enumerate(cells)))


def table(head, rows, numbers=()):
    """A table of HTML cells with a row of headings."""
    return element("table", row(head, "th", numbers) + "".join(
        row(cells, numbers=numbers) for cells in rows))
