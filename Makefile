# make quickstart: set up and run the main job.  make test: set up, lint, types, tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test setup lint types pytest browser clean

quickstart: setup
	$(BIN)/wsol quickstart

test: setup lint types browser pytest

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not follow the import hook of an editable install: check an installed copy.
types: setup
	rm -rf build/types build/lib
	$(BIN)/python -m pip install --quiet --no-deps --target build/types .
	MYPYPATH=build/types $(BIN)/mypy -p wsol_deploy

# The browser tests use a Chromium that is there, or Debian's where it can be installed.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq chromium >/dev/null; } || \
		echo "no Chromium and no way to install it: the browser tests will skip"

pytest: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
