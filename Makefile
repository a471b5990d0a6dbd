# Everything that a newcomer needs: `make demo` and `make test` set up what they use.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: docs demo test lint types sweep bench package clean

# One stamp for each kind of installation, so that a second `make` starts at once.
$(VENV)/stamp-run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/stamp-dev: $(VENV)/stamp-run
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

$(VENV)/stamp-docs: $(VENV)/stamp-dev
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

$(VENV)/stamp-bench: $(VENV)/stamp-dev
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $@

demo: $(VENV)/stamp-run  ## Run the main job on a small trained model and print what it did.
	$(BIN)/python fixtures/demo.py

test: $(VENV)/stamp-dev browser  ## The whole test suite.
	$(BIN)/python -m pytest

# The tests of the HTML report look at it in Chromium; without one they are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || \
		echo "no Chromium, and none can be installed here: the tests of the HTML report will be skipped"

lint: $(VENV)/stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/stamp-dev
	$(BIN)/mypy onnxopt
	MYPYPATH=benchmarks:fixtures $(BIN)/mypy benchmarks/*.py fixtures/*.py
	MYPYPATH=.:fixtures $(BIN)/mypy --explicit-package-bases examples

sweep: $(VENV)/stamp-dev  ## The slow tests, which `make test` leaves out.
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/stamp-bench  ## What measures us; see benchmarks/README.md.
	$(BIN)/python benchmarks/all.py

docs: $(VENV)/stamp-docs  ## The documentation, as a site in dist/site.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

package: $(VENV)/stamp-dev  ## The wheel, built from the sdist, installed into an empty environment.
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m zipfile --list dist/*.whl
	rm -rf dist/venv && $(PYTHON) -m venv dist/venv
	dist/venv/bin/python -m pip install --quiet dist/*.whl
	cd dist && venv/bin/onnxopt passes && venv/bin/onnxopt run ../fixtures/digits_mobilenet/digits_mobilenet.onnx -O 2 \
		--data ../fixtures/digits_mobilenet/calibration.npz -o digits.onnx

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
