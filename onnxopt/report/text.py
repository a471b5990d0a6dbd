"""Tables, names of any length and content as one cell of them, and tables as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_WIDEST = 60


def shown(text: str, width: int = _WIDEST) -> str:
    """`text` in one line of at most `width` characters: control characters escaped, the middle left out."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: 4 * width + 4])
    line += "".join(c if c.isprintable() else "?" for c in text[4 * width + 4 :][-width:])
    if len(line) <= width:
        return line
    head = (width - 3) // 2
    return f"{line[:head]}...{line[head + 3 - width :]}"


def cell(text: object, style: str = "", width: int = _WIDEST) -> Text:
    """A cell that no `[markup]` in a name can break."""
    from rich.text import Text

    return Text(shown(str(text), width), style)


def empty_table(padding: tuple[int, int, int, int] = (0, 1, 0, 1)) -> Table:
    """An empty table in the style of all reports; the padding of a cell is top, right, bottom, left."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", padding=padding)


def html(what: RenderableType) -> str:
    """What a notebook shows of a table."""
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), record=True, width=100, force_jupyter=False, highlight=False, markup=False)
    console.print(what)
    page: str = console.export_html(
        inline_styles=True, code_format='<pre style="line-height:1.2;font-family:monospace">{code}</pre>'
    )
    return page
