r"""Escaping of foreign text (labels, names, paths, messages of exceptions) for terminal, markdown, LaTeX, CSV, JSON.

Every writer takes its escapes from here: a terminal, markdown, LaTeX, CSV, HTML and pictures each read some signs as
commands. What is shown says visibly what it left out or replaced: `\x1b` for ESC, `…` for a middle that is cut.
"""

from __future__ import annotations

import re
import unicodedata

ELLIPSIS = "…"
LABEL = 160  # signs of a label at the most
LINE = 1_000  # signs of a line of a message at the most
LINES = 400  # lines of a message at the most

_JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji are written with them
_SPACES = re.compile(r"[\t\n\r\x0b\x0c\x85\u2028\u2029]+ *")


def printable(text: object, lines: bool = False) -> str:
    """Escape characters that control a terminal, reverse the direction of text, or are invisible.

    Controls (ESC, backspace, C1), bidirectional and other invisible formatting, halves of surrogate pairs and
    what Unicode calls no character, so that the result is also valid in XML and in UTF-8. lines: line breaks and
    tabs stay; otherwise the result is one line, and they become spaces.
    """
    line = str(text)
    if line.isascii() and line.isprintable():
        return line
    line = line.replace("\r\n", "\n") if lines else _SPACES.sub(" ", line)
    return "".join(_visible(sign, lines) for sign in line)


def _visible(sign: str, lines: bool) -> str:
    if sign.isprintable() or (lines and sign in "\n\t") or sign in _JOINERS:
        return sign
    kind, code = unicodedata.category(sign), ord(sign)
    if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF:
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    return " " if kind == "Zs" else sign  # a no-break space; a sign that this Python's Unicode does not know yet


def shortened(text: str, width: int) -> str:
    """Shorten text to `width` characters: its beginning and its end, `…` between them."""
    if len(text) <= width:
        return text
    if width <= 1:
        return ELLIPSIS[:width]
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}{ELLIPSIS}{text[len(text) - tail :] if tail else ''}"


def label(text: object, width: int = LABEL) -> str:
    """Format a name for display: one printable line, not longer than `width`."""
    name = str(text)
    if len(name) > 8 * width:  # what is printed may be eight times as long as what it stands for: look at no more
        name = shortened(name, 4 * width)
    return shortened(printable(name).strip(), width)


def message(text: object) -> str:
    """Format a message for a terminal: printable; long lines and too many lines are cut in their middle."""
    rows = [printable(shortened(row, LINE), lines=True) for row in str(text).split("\n")]
    if len(rows) > LINES:
        rows = [*rows[: LINES // 2], ELLIPSIS, *rows[-LINES // 2 :]]
    return "\n".join(rows)


def markdown(text: object) -> str:
    """Escape text for a cell of a GitHub markdown table: nothing in it is markup, HTML, a formula or a further cell."""
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latex(text: object) -> str:
    r"""Escape text for a cell of a LaTeX table; also `[`, which would be an argument of the `\\` before it."""
    return "".join(_LATEX.get(sign, sign) for sign in printable(text))


_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    '"': "{''}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "…": r"\dots{}",
    "∞": r"$\infty$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "ε": r"$\varepsilon$",
    "η": r"$\eta$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
}
FORMULA = "=+-@\t\r\n＝＋－＠"  # a spreadsheet takes the full-width ones for the others


def csv(value: object) -> object:
    """Escape a cell of a CSV file: text that a spreadsheet would run as a formula begins with a quote; numbers stay.

    OWASP, "CSV Injection". Text that is a number (`-0.5`) is no formula.
    """
    if not isinstance(value, str):
        return value
    cell = printable(value)
    if cell.lstrip(" ")[:1] not in tuple(FORMULA) or not cell.strip():
        return cell if value[:1] not in ("\t", "\r", "\n") else f"'{cell.lstrip()}"
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def json(text: str) -> str:
    r"""Escape JSON text: what must not reach a terminal becomes `\uXXXX`, which any reader of JSON turns back."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(sign if sign in "\n" or sign in _JOINERS else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    if _visible(sign, lines=True) == sign or unicodedata.category(sign) == "Zs":
        return sign
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
