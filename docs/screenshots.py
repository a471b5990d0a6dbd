"""Pictures of the HTML report for the documentation, into docs/images.

    python docs/screenshots.py

Needs Chromium, playwright (fixtures/browser.py) and Pillow, and for one picture a model of others
(fixtures/real_models.py).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "fixtures"))

from browser import browser, drawn  # noqa: E402
from PIL import Image  # noqa: E402
from real_models import real_model  # noqa: E402

import onnxopt  # noqa: E402

IMAGES = Path(__file__).parent / "images"
MOST_BYTES = 150_000
WIDE, NARROW = (1280, 800), (390, 844)


@dataclass(frozen=True)
class Picture:
    """What is opened, what is done to it, and in which window."""

    name: str
    page: str
    acts: Callable[[Any], None]
    size: tuple[int, int] = WIDE
    scheme: str = "light"


def fused(page: Any) -> None:
    """The pass that folds BatchNormalization, and one of its nodes."""
    page.locator(".step", has_text="fuse-conv-bn").click()
    page.keyboard.press("n")


def beside(page: Any) -> None:
    """Before and after that pass."""
    page.locator(".step", has_text="fuse-conv-bn").click()
    page.click('[data-mode="side"]')


def blocks(page: Any) -> None:
    """The model by blocks, its tables beside it."""
    page.keyboard.press("End")
    page.get_by_role("button", name="collapse", exact=True).click()
    page.wait_for_selector(".box.block")
    page.get_by_role("button", name="whole", exact=True).click()
    page.get_by_role("tab", name="Tables").click()


def branch(page: Any) -> None:
    """Inside a branch of an If."""
    page.locator(".step", has_text="fold-constants").first.click()
    page.locator(".box .tool").first.click()
    page.wait_for_selector('.crumbs [aria-current]:has-text("branch")')


PICTURES = [
    Picture("inspector", "digits", fused),
    Picture("inspector-side-by-side", "digits", beside, scheme="dark"),
    Picture("inspector-blocks", "digits", blocks),
    Picture("inspector-subgraph", "silero", branch, scheme="dark"),
    Picture("inspector-narrow", "digits", fused, NARROW),
]


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser() as running:
        pages = written(Path(folder))
        for picture in PICTURES:
            take(running, picture, pages[picture.page])


def written(folder: Path) -> dict[str, Path]:
    """The pages that pictures are taken of."""
    digits = ROOT / "fixtures" / "digits_mobilenet" / "digits_mobilenet.onnx"
    runs = {"digits": (digits, "O3"), "silero": (real_model("silero_vad"), "O2")}
    pages = {name: folder / f"{name}.html" for name in runs}
    for name, (model, pipeline) in runs.items():
        onnxopt.run(model, pipeline, record=True, verify=False).report().save(pages[name])
    return pages


def take(running: Any, picture: Picture, path: Path) -> None:
    """One picture, into its file."""
    width, height = picture.size
    page = running.new_page(viewport={"width": width, "height": height}, color_scheme=picture.scheme)
    page.goto(path.as_uri())
    drawn(page)
    picture.acts(page)
    page.wait_for_timeout(1000)  # until nothing moves any more
    to = IMAGES / f"{picture.name}.png"
    taken = Image.open(BytesIO(page.screenshot()))
    page.close()
    taken.quantize(256, Image.Quantize.MAXCOVERAGE).save(to, optimize=True)
    if to.stat().st_size > MOST_BYTES:
        sys.exit(f"{to.name} has more than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
