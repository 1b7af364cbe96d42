# Each word below works in a fresh clone that has make and Python 3.11 or newer.

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
FRONT_END := $(wildcard vibehq_nb/js/*.json vibehq_nb/js/*.mjs) \
	$(shell find vibehq_nb/js/src -type f)

# The first Python that is new enough; `make setup PYTHON=…` names another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$name" && break; done)

# npm is in the environment where the system has none that is new enough.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DELETE_ON_ERROR:
.PHONY: help setup lab test check prove notebooks build

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-11s%s\n", $$1, $$2 }' Makefile

setup: .venv/.installed ## make the environment in .venv (quick when up to date)

lab: setup ## open JupyterLab on the quickstart
	@$(BIN)/vibehq lab

test: setup ## run every test tier (some of them: make test TIERS="unit js")
	@$(BIN)/python scripts/run_tests.py $(TIERS)

check: setup vibehq_nb/js/node_modules/.package-lock.json ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd vibehq_nb/js && npm run check

prove: setup ## run the tests with every round, and the benchmarks
	@VIBEHQ_ROUNDS=full $(BIN)/python scripts/run_tests.py --benchmarks

notebooks: setup ## run the notebooks and write their outputs
	@$(BIN)/python scripts/make_notebooks.py

build: setup ## build the sdist and the wheel into dist/
	$(BIN)/python -m build

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is needed, and PATH has none." \
			"Install it, or name it: make setup PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi
	$(PYTHON) -m venv .venv

.venv/.locked: requirements.lock requirements-node.lock | $(BIN)/python
	$(PIP) --require-hashes -r requirements.lock
	@$(BIN)/python -c 'import sys, hatch_build; sys.exit(not hatch_build.find_npm())' || { \
		echo "Node 20 or newer is not here: taking it from PyPI." && \
		$(PIP) --require-hashes -r requirements-node.lock; } || { \
		echo "Node is not here and PyPI does not answer: install Node 20 or newer." >&2; \
		exit 1; }
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml hatch_build.py $(FRONT_END) \
		server/jupyter-config/jupyter_server_config.d/vibehq.json \
		vibehq_nb/static/vibehq.js
	$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

vibehq_nb/static/vibehq.js: ;

vibehq_nb/js/node_modules/.package-lock.json: vibehq_nb/js/package-lock.json | setup
	cd vibehq_nb/js && npm ci --no-audit --no-fund
	@touch $@
