"""The page in a real browser: stepping, clicking, searching, opening, at two widths, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.browser import drawn
from tests.report.inspector.conftest import NARROW, WIDE, Open

Written = Callable[[str], Path]
MODES = ["changes", "before", "after", "side"]


def step(page: Any, key: str = "ArrowRight") -> int:
    """Press a key that goes to another pass; its number, once it is drawn."""
    was = drawn(page)
    page.keyboard.press(key)
    page.wait_for_selector(f'body:not([data-drawn="{was}"])')
    return int(drawn(page).split("/")[0])


def go_to(page: Any, name: str) -> None:
    """Choose a pass by its name."""
    page.locator(".step", has_text=name).first.click()
    number = page.locator('.step[aria-selected="true"]').get_attribute("data-step")
    page.wait_for_selector(f'body[data-drawn^="{number}/"]')


def boxes(page: Any, kind: str = "") -> Any:
    """The boxes of the picture that is worked on."""
    return page.locator(f".pane:not([hidden]) .box{kind}")


def heights(pane: Any) -> dict[str, float]:
    """Where the first boxes of a picture are."""
    return {box.get_attribute("data-id"): box.bounding_box()["y"] for box in pane.locator(".box").all()[:6]}


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ["digits_mobilenet", "ppocr_cls", "silero_vad"])
def test_every_pass_can_be_stepped_through(opened: Open, written: Written, name: str, size: tuple[int, int]) -> None:
    page = opened(written(name), size, "dark" if size == NARROW else "light")
    listed = [int(row.get_attribute("data-step")) for row in page.locator(".step").all()]
    assert [step(page) for _ in listed[1:]] == listed[1:]
    assert boxes(page).count() > 3
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert step(page, "Home") == 0


def test_a_fused_node_tells_the_pass_that_made_it(opened: Open, written: Written) -> None:
    page = opened(written("digits_mobilenet"))
    go_to(page, "fuse-conv-bn")
    assert page.locator(".panel li", has_text="BatchNormalization").count() > 0
    assert boxes(page, ".removed").count() == boxes(page, ".changed").count() == 26
    boxes(page, ".changed").first.click()
    assert page.locator(".made-by").inner_text().startswith("fuse-conv-bn: fold BatchNormalization into Conv")
    assert "/stem/stem.1/BatchNormalization" in page.locator(".made-of").inner_text()
    assert page.locator(".edge.lit").count() >= 2
    assert page.locator(".histogram").count() >= 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_before_and_after(opened: Open, written: Written, size: tuple[int, int], scheme: str) -> None:
    page = opened(written("digits_mobilenet"), size, scheme)
    go_to(page, "fuse-conv-bn")
    counts = {}
    for mode in MODES:
        page.click(f'[data-mode="{mode}"]')
        page.wait_for_selector(f'body[data-drawn*="/{mode}/"]')
        counts[mode] = boxes(page).count()
    assert counts["before"] - counts["after"] == 26
    assert counts["changes"] == counts["before"]
    assert counts["side"] == counts["before"] + counts["after"]
    if size == WIDE:
        before, after = (heights(pane) for pane in page.locator(".pane").all())
        assert before.keys() & after.keys()
        assert all(abs(before[one] - after[one]) < 1 for one in before.keys() & after.keys())
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in background[4:-1].split(",")) < 200) == (scheme == "dark")


def test_search_opens_what_hides_a_node(opened: Open, written: Written) -> None:
    page = opened(written("ppocr_cls"))
    page.click("text=collapse")
    page.wait_for_selector(".box.block")
    collapsed = boxes(page).count()
    page.keyboard.press("/")
    page.keyboard.type("softmax")
    assert page.locator(".found").inner_text().endswith(" found")
    page.keyboard.press("Enter")
    page.wait_for_selector(".box.selected")
    assert "Softmax" in (page.locator(".box.selected").text_content() or "")
    assert page.locator(".panel h2").inner_text().startswith("Softmax")
    assert boxes(page).count() > collapsed
    page.locator(".searching input").fill("no such node")
    assert page.locator(".found").inner_text() == "none here"


def test_blocks_collapse_and_open(opened: Open, written: Written) -> None:
    page = opened(written("digits_mobilenet"))
    everything = boxes(page).count()
    page.locator(".frame .tool").first.click()
    page.wait_for_selector(".box.block")
    assert boxes(page).count() < everything
    page.locator(".box.block .tool").first.click()
    page.wait_for_selector(".box.block", state="detached")
    assert boxes(page).count() == everything
    page.click("text=collapse")
    page.wait_for_selector(".box.block")
    assert page.locator(".box.block .stripe").count() >= 2, "blocks that are alike have a colour in common"


def test_a_subgraph_opens_by_button_and_by_key(opened: Open, written: Written) -> None:
    page = opened(written("silero_vad"))
    inside = page.locator('.crumbs [aria-current="page"]')
    assert inside.inner_text() == "spox_graph"
    page.locator(".box", has_text="If").locator(".tool").click()
    page.wait_for_selector('.crumbs [aria-current]:has-text("branch")')
    page.keyboard.press("Escape")
    page.wait_for_selector(".box.selected")
    assert inside.inner_text() == "spox_graph"
    page.keyboard.press("Enter")
    page.wait_for_selector('.crumbs [aria-current]:has-text("branch")')
    page.locator(".box").nth(5).wait_for()


def test_changes_are_visited_one_by_one(opened: Open, written: Written) -> None:
    page = opened(written("digits_mobilenet"))
    go_to(page, "fuse-conv-bn")
    for number in (1, 2, 3):
        page.keyboard.press("n")
        page.wait_for_selector(f'.found:has-text("change {number} of")')
    assert page.locator(".state").inner_text().endswith("by this pass")


def test_nodes_are_walked_by_key_and_focus_stays(opened: Open, written: Written) -> None:
    page = opened(written("digits_mobilenet"))
    page.locator("svg.graph:visible").focus()
    seen = [""]
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        page.wait_for_selector(f'.box.selected:not([data-id="{seen[-1]}"])')
        seen.append(page.locator(".box.selected").get_attribute("data-id"))
    assert len(set(seen)) == 4
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(f'.box.selected[data-id="{seen[2]}"]')


PLACES = ["header", ".timeline", ".tools", "svg.graph", ".tabs", ".panel-body"]


def test_tab_reaches_everything_in_order(opened: Open, written: Written) -> None:
    page = opened(written("digits_mobilenet"))
    reached = []
    for _ in range(24):
        page.keyboard.press("Tab")
        reached += [place for place in PLACES if page.evaluate(f"Boolean(document.activeElement.closest('{place}'))")]
    assert list(dict.fromkeys(reached)) == PLACES


def test_roles_are_those_of_lists_and_tabs(opened: Open, written: Written) -> None:
    page = opened(written("digits_mobilenet"))
    assert page.get_by_role("listbox", name="passes").get_by_role("option", selected=True).count() == 1
    assert [tab.inner_text() for tab in page.get_by_role("tab").all()] == ["Pass", "Node", "Diff", "Tables"]
    page.get_by_role("tab", name="Pass").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Node").get_attribute("aria-selected") == "true"
    page.get_by_role("tab", name="Tables").click()
    assert page.get_by_role("tabpanel", name="Tables").locator("td", has_text="Conv").count() > 0


def test_it_prints_what_is_seen(opened: Open, written: Written) -> None:
    page = opened(written("digits_mobilenet"), scheme="dark")
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator(".tools").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
