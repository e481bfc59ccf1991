# `make demo` and `make test` install what they need into $(VENV) the first time; the second time they only run.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.mrisim-installed
UV := $(shell command -v uv 2>/dev/null)
WORKERS ?= 2

.PHONY: demo test quick check validate bench notebooks install clean

demo: $(STAMP)
	$(BIN)/mrisim demo --out out/demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS)

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

$(STAMP): pyproject.toml
ifneq ($(UV),)
	[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python -e ".[dev]"
else
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
endif
	@touch $@

clean:
	rm -rf $(VENV) .cache out dist .pytest_cache .ruff_cache .hypothesis
