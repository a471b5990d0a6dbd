"""Figures as people read them."""

from __future__ import annotations

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL = ("", "K", "M", "G", "T", "P")


def size(count: float) -> str:
    """Bytes, in powers of 1,024: `351.2 KiB`."""
    return _scaled(count, 1024, _BINARY)


def amount(count: float) -> str:
    """A count, in powers of 1,000: `78.4 K`."""
    return _scaled(count, 1000, _DECIMAL)


def change(before: float, after: float) -> str:
    """The change from one figure to another, in percent; empty where nothing changed."""
    if before == after:
        return ""
    if before == 0:
        return "new"
    if after == 0:
        return "gone"
    percent = 100 * (after - before) / before
    if abs(percent) >= 1000:
        return f"x {after / before:.0f}"
    return f"{percent:+.1f} %" if abs(percent) >= 0.05 else f"{'+' if percent > 0 else '-'}<0.1 %"


def _scaled(count: float, base: int, units: tuple[str, ...]) -> str:
    value, step = float(count), 0
    while step < len(units) - 1 and abs(round(value, 1)) >= base:
        value /= base
        step += 1
    number = f"{int(count)}" if step == 0 else f"{value:.1f}"
    return f"{number} {units[step]}".strip()
