"""Format numbers for people: as many digits as the standard deviation over seeds allows."""

from __future__ import annotations

import math


def plus_minus(mean: float, deviation: float, sign: str = "±") -> str:
    """Format `0.0312 ± 0.0021`: the deviation to two digits, the mean to the same place; '–' where missing."""
    if not math.isfinite(mean):
        return "–"
    if not math.isfinite(deviation) or deviation <= 0:
        return number(mean)
    places = min(max(1 - math.floor(math.log10(deviation)), 0), 9)
    return f"{mean:.{places}f} {sign} {deviation:.{places}f}"


def number(value: float, digits: int = 4) -> str:
    """Format a number to four digits, without an exponent in the usual range; '–' where missing."""
    if not math.isfinite(value):
        return "–"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}g}"
    places = 0 if not value else min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 7)
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: float) -> str:
    """Format a count with its unit prefix: `675 M`, `1.28 M`, `420 k`."""
    if not math.isfinite(value):
        return "–"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{number(value / size, 3)}{unit}"
    return f"{value:.0f}"


def probability(p: float) -> str:
    """Format a p-value to two digits; '–' where missing."""
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def percent(share: float) -> str:
    """Format a probability as whole per cent: `97 %`, `> 99 %`, `< 1 %`; '–' where missing."""
    if not math.isfinite(share):
        return "–"
    return "< 1 %" if share <= 0.005 else "> 99 %" if share >= 0.995 else f"{100 * share:.0f} %"


def signed(value: float, digits: int = 3) -> str:
    """Format a difference with its sign (a true minus)."""
    text = number(abs(value), digits)
    return text if text in ("–", "0") else f"{'−' if value < 0 else '+'}{text}"
