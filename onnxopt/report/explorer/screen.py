"""The full-screen browser of `onnxopt explore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Footer, Header, Input, Label, ListItem, ListView, Static
from textual.worker import get_current_worker

from onnxopt.errors import OnnxoptError
from onnxopt.report.explorer.rows import Row, rows_of
from onnxopt.report.node import node_facts, node_text
from onnxopt.report.text import shown

if TYPE_CHECKING:
    from onnxopt.report.explorer.trials import Candidate, Trials

_DIFF_LINES = 400


class Explorer(App[None]):
    """Passes on the left, nodes in the middle, what is selected on the right."""

    CSS = """
    #passes { width: 34; border-right: solid $surface-lighten-2; }
    #passes Label { padding: 0 1; color: $text-muted; }
    ListView { height: auto; max-height: 50%; }
    #candidates { max-height: 1fr; height: 1fr; }
    #details { width: 46%; padding: 0 1; border-left: solid $surface-lighten-2; }
    #filter { display: none; }
    #filter.asked { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "undo", "undo"),
        Binding("d", "diff", "what the pass changed"),
        Binding("slash", "filter", "filter"),
        Binding("p", "passes", "passes"),
        Binding("w", "write", "write"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, trials: Trials, title: str, output: Path | None = None) -> None:
        super().__init__()
        self.trials, self.title, self.output = trials, title, output
        self._rows: list[Row] = []
        self._words = ""

    def compose(self) -> ComposeResult:
        """The three columns."""
        yield Header()
        with Horizontal():
            with Vertical(id="passes"):
                yield Label("applied (u undoes the last)")
                yield ListView(id="applied")
                yield Label("would change the graph (enter applies)", id="looking")
                yield ListView(id="candidates")
            with Vertical():
                yield Input(placeholder="name, operator or shape", id="filter")
                yield DataTable[str](id="nodes", cursor_type="row")
            with VerticalScroll(id="details"):
                yield Static(id="told", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Show the graph that was opened."""
        self.query_one("#nodes", DataTable).add_columns("operator", "name", "output", "made by")
        self._refresh()
        self.query_one("#candidates").focus()

    def _refresh(self) -> None:
        applied = self.query_one("#applied", ListView)
        applied.clear()
        for step in self.trials.steps:
            count = f"  {len(step.rewrites)} rewrites" if step.pipeline else ""
            applied.append(ListItem(Static(Text(shown(step.pipeline or "input", 24)).append(count, "dim"))))
        self._rows = list(rows_of(self.trials.now.graph))
        self._show_nodes()
        self.sub_title = f"{len(self._rows)} nodes"
        self._look_for_candidates()

    def _show_nodes(self) -> None:
        table = self.query_one("#nodes", DataTable)
        table.clear()
        for number, row in enumerate(self._rows):
            if all(word in row.searched for word in self._words.lower().split()):
                cells = (row.operator, shown(row.name, 36), shown(row.output, 28), shown(row.made_by, 24))
                table.add_row(*(Text(cell) for cell in cells), key=str(number))

    @work(thread=True, exclusive=True)
    def _look_for_candidates(self) -> None:
        """In a thread: every pass is tried."""
        worker = get_current_worker()
        self.call_from_thread(self._clear_candidates)
        found = 0
        for candidate in self.trials.candidates():
            if worker.is_cancelled:
                return
            found += 1
            self.call_from_thread(self._add_candidate, candidate)
        if not worker.is_cancelled:
            told = "would change the graph (enter applies)" if found else "no pass would change the graph"
            self.call_from_thread(self.query_one("#looking", Label).update, told)

    def _clear_candidates(self) -> None:
        self.query_one("#looking", Label).update("looking for passes that would change it…")
        self.query_one("#candidates", ListView).clear()

    def _add_candidate(self, candidate: Candidate) -> None:
        told = f"  {candidate.rewrites} rewrites, {candidate.nodes:+} nodes, {candidate.preserves}"
        item = ListItem(Static(Text(candidate.name, "bold").append(f"\n{told}", "not bold dim")), name=candidate.name)
        self.query_one("#candidates", ListView).append(item)

    def on_list_view_selected(self, event: ListView.Selected) -> None:
        """Apply the pass."""
        name = event.item.name
        if event.list_view.id != "candidates" or name is None:
            return
        try:
            self.trials.apply(name)
        except OnnxoptError as error:
            self.notify(str(error), severity="error")
            return
        self._refresh()
        self.action_diff()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the node."""
        if event.row_key is not None and event.row_key.value is not None and self.focused is event.data_table:
            row = self._rows[int(event.row_key.value)]
            facts = node_facts(self.trials.now.graph, row.asked)
            self._tell(Text(node_text(facts)))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the nodes that have all words."""
        self._words = event.value
        self._show_nodes()

    def on_input_submitted(self) -> None:
        """Back to the nodes."""
        self.query_one("#nodes").focus()

    def action_undo(self) -> None:
        """Back to the graph before."""
        if self.trials.undo():
            self._refresh()
            self._tell(Text(""))
        else:
            self.notify("this is the graph that was opened")

    def action_diff(self) -> None:
        """What the last pass changed."""
        from onnxopt import ir

        if len(self.trials.steps) < 2:
            self._tell(Text("no pass was applied yet", "dim"))
            return
        before, after = self.trials.steps[-2:]
        lines = list(ir.unified(before.graph, after.graph))
        told = Text(f"{after.pipeline}: {len(after.rewrites)} rewrites\n", "bold")
        for line in lines[:_DIFF_LINES]:
            told.append(f"{line}\n", {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], ""))
        if len(lines) > _DIFF_LINES:
            told.append(f"{len(lines) - _DIFF_LINES} lines more", "dim")
        self._tell(told)

    def action_filter(self) -> None:
        """Ask for words."""
        asked = self.query_one("#filter", Input)
        asked.add_class("asked")
        asked.focus()

    def action_passes(self) -> None:
        """To the passes."""
        self.query_one("#candidates").focus()

    def action_write(self) -> None:
        """Write the present graph."""
        from onnxopt import ir

        if self.output is None:
            self.notify("start it with -o FILE to write the graph", severity="warning")
            return
        try:
            ir.save(self.trials.now.graph, self.output)
        except OnnxoptError as error:
            self.notify(str(error), severity="error")
        else:
            self.notify(f"wrote {self.output}: {self.trials.pipeline or 'no pass'}")

    def _tell(self, text: Text) -> None:
        self.query_one("#told", Static).update(text)
        self.query_one("#details").scroll_home(animate=False)
