# `make demo` and `make test` install what they need into $(VENV) the first time; the second time they only run.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.mrisim-installed
DOCS_STAMP := $(VENV)/.mrisim-docs-installed
LAB_STAMP := $(VENV)/.mrisim-notebooks-installed
UV := $(shell command -v uv 2>/dev/null)
WORKERS ?= 2

.PHONY: demo test lab docs quick check validate bench notebooks install clean

demo: $(STAMP)
	$(BIN)/mrisim demo --out out/demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS)

lab: $(LAB_STAMP)
	$(BIN)/jupyter lab notebooks

# Warnings are errors; links within the site are checked, and links to elsewhere are not followed.
docs: $(DOCS_STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

quick: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

check: $(STAMP)
	$(BIN)/ruff format --check mrisim tests
	$(BIN)/ruff check mrisim tests
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n $(WORKERS)

validate: $(STAMP)
	$(BIN)/mrisim validate --library

bench: $(STAMP)
	$(BIN)/python -m benchmarks

notebooks: $(STAMP)
	$(BIN)/python notebooks/build.py

install: $(STAMP)

define install_extra
	[ -x $(BIN)/python ] || $(if $(UV),$(UV) venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	$(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet) -e ".[$(1)]"
	@touch $@
endef

$(STAMP): pyproject.toml
	$(call install_extra,dev)

$(DOCS_STAMP): pyproject.toml
	$(call install_extra,docs)

$(LAB_STAMP): pyproject.toml
	$(call install_extra,notebooks)

clean:
	rm -rf $(VENV) .cache docs/_build docs/generated out dist .pytest_cache .ruff_cache .hypothesis
