# Every target sets up what it needs: `make demo` and `make test` work on a fresh clone with Python 3.11+ and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs bench clean

DEMO ?=
TESTS ?= tests
BENCH ?=
VENV := .venv
BIN := $(VENV)/bin
FIND_PYTHON := for name in python3 python3.13 python3.12 python3.11; do \
	if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then command -v "$$name"; exit; fi; done; \
	echo "streamcast needs Python 3.11, 3.12 or 3.13; found: $$(python3 --version 2>&1 || echo none). Install one and run make again." >&2; exit 1

help:
	@echo "make demo    train on real series, stream them through an embedded broker, serve the live page (DEMO='--seconds 60')"
	@echo "make test    all tests (TESTS=tests/streamcast/offline/test_history.py for some)"
	@echo "make lint    ruff, mypy, import contracts"
	@echo "make format  let ruff format and sort imports"
	@echo "make docs    write the generated pages of docs/"
	@echo "make bench   the throughput benchmark against a real Kafka (BENCH='--json FILE')"
	@echo "make clean   remove the environment and everything built"

demo: $(VENV)/.demo
	@$(BIN)/streamcast demo $(DEMO)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(TESTS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev
	@$(BIN)/python -c 'from pathlib import Path; from streamcast import schemas, settings; schemas.write_docs(Path("docs")); settings.write_docs(Path("docs"))'

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.throughput $(BENCH)

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an extra is installed once, and again when pyproject.toml or constraints.txt changes. torch comes first, by
# itself: what was downloaded of it is gone before the rest comes, 8.3 GB of disk at the most instead of 9.9.
$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing streamcast[$*] into $(VENV): once, a few minutes (torch is large) ..."
	@for packages in torch '--editable .[$*]'; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 --timeout 60 \
			--constraint constraints.txt $$packages || { \
			echo "The installation failed. Is the package index reachable, and are 9 GB of disk free? Then run make again." >&2; exit 1; }; done
	@touch $@

$(BIN)/python:
	@python=$$($(FIND_PYTHON)); echo "Creating $(VENV) with $$("$$python" --version) ..."; \
		"$$python" -m venv $(VENV) || { echo "python -m venv failed (on Debian: apt install python3-venv)." >&2; rm -rf $(VENV); exit 1; }
