"""What a benchmark prints: its figures as a table or as JSON, and whether the point holds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass
class Report:
    """The figures of one point."""

    point: int
    """Its number in the list of what the compiler core must show; the README has the list."""
    claim: str
    """What must hold, in a few words."""
    rows: list[tuple[str, ...]] = field(default_factory=list)
    """A table; its first row is the heading."""
    notes: list[str] = field(default_factory=list)
    """Faults and caveats, one line each."""
    headline: str = ""
    """The figure that decides, as the summary of all points prints it."""
    holds: bool = True
    figures: dict[str, Any] = field(default_factory=dict)
    """What the JSON has beyond the above."""

    def require(self, what: str, holds: bool) -> None:
        """Note a condition that does not hold."""
        if not holds:
            self.holds = False
            self.notes.append(f"DOES NOT HOLD: {what}")

    def print_and_exit(self, *, as_json: bool) -> None:
        """Print it; exit status 1 where the point does not hold."""
        if as_json:
            shown = ("point", "claim", "holds", "headline", "notes", "figures")
            table = [dict(zip(self.rows[0], row, strict=True)) for row in self.rows[1:]]
            print(json.dumps({**{key: getattr(self, key) for key in shown}, "table": table}, indent=2, default=str))
        else:
            print(f"{self.point}. {self.claim}\n")
            print(aligned(self.rows))
            for note in self.notes:
                print(f"  {note}")
            print(f"\n{'holds' if self.holds else 'DOES NOT HOLD'}: {self.headline}")
        sys.exit(not self.holds)


def keep(report: Report, versions: str, name: str) -> None:
    """Write what a whole run found where it is kept: results/NAME.txt and .json."""
    verdict = f"{'holds' if report.holds else 'DOES NOT HOLD'}: {report.headline}"
    lines = [versions, "", report.claim, "", aligned(report.rows), *report.notes, "", verdict]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (RESULTS / f"{name}.json").write_text(json.dumps({"versions": versions, **asdict(report)}, indent=1) + "\n")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text: the first column to the left, the others to the right."""
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]) + "\n"


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def tick(line: str) -> None:
    """Say on a terminal what is going on."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}\r")
        sys.stderr.flush()
