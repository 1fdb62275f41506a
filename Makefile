# Every target installs its own requirements: `make demo` and `make test` work on a fresh clone with Python 3.11+ and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo quick test lint types format docs bench release clean

DEMO ?=
TESTS ?= tests
WORKERS ?= 4
QUICK := not (kafka or browser or prometheus or slow)
BENCH ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 --timeout 60 --constraint constraints.txt
UV := --python $(BIN)/python --cache-dir $(VENV)/uv --system-certs $(shell [ -t 2 ] || echo --quiet)
FIND_PYTHON := for name in python3 python3.13 python3.12 python3.11; do \
	if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then command -v "$$name"; exit; fi; done; \
	echo "streamcast needs Python 3.11, 3.12 or 3.13; found: $$(python3 --version 2>&1 || echo none). Install one and run make again." >&2; exit 1

# Tests start many processes: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make demo    train on real series, stream them through an embedded broker, serve the live page (DEMO='--seconds 60')"
	@echo "make quick   lint, types, and the tests that need no broker, browser or long programme: two minutes"
	@echo "make test    all tests, on WORKERS=4 workers, of which two mostly wait for Kafka (TESTS=tests/streamcast/offline/test_history.py for some)"
	@echo "make lint    ruff, import contracts and types"
	@echo "make types   mypy alone"
	@echo "make format  let ruff format and sort imports"
	@echo "make docs    write the generated pages of docs/, and build the site into site/"
	@echo "make bench   the throughput benchmark against a real Kafka (BENCH='--json FILE')"
	@echo "make release lock the image's packages with their hashes, and write its bill of materials"
	@echo "make clean   remove the environment and everything built"

demo: $(VENV)/.demo
	@$(BIN)/streamcast demo $(DEMO)

# mypy runs beside the tests.
quick: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python deploy/compile_kernels.py
	@$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest -q -n 2 --dist loadgroup -m '$(QUICK)' $(TESTS) || { kill $$types 2>/dev/null; exit 1; }; wait $$types

test: $(VENV)/.dev
	@$(BIN)/python deploy/compile_kernels.py
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(TESTS)

lint: types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

types: $(VENV)/.dev
	@$(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev
	@$(BIN)/python -m harness.documentation
	@$(BIN)/zensical build --strict

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.throughput $(BENCH)

# The packages of the image, with the hashes of their files on every platform; and what they are, as CycloneDX.
release: $(VENV)/.release
	@$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-annotate \
		--extra librdkafka --extra dashboard --extra parquet --extra holidays --extra s3 --constraint constraints.txt \
		--output-file deploy/requirements.txt pyproject.toml
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file dist/sbom.json deploy/requirements.txt
	@echo "Wrote deploy/requirements.txt and dist/sbom.json"

clean:
	@rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an extra is installed once, and again when pyproject.toml or constraints.txt changes.  uv takes one to three
# minutes where pip takes five.  Its cache lies in the environment, so that files are linked and not copied.  pip follows for machines
# where only pip knows the package index.
$(VENV)/.demo $(VENV)/.dev $(VENV)/.release: $(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing streamcast[$*] into $(VENV): once, one to five minutes (torch is large) ..."
	@what=(--constraint constraints.txt --editable '.[$*]'); \
		{ $(PIP) uv && $(BIN)/uv pip install $(UV) "$${what[@]}"; } || { echo "uv could not install it; trying pip ..."; $(PIP) "$${what[@]}"; } || { \
			echo "The installation failed. Is the package index reachable, and are 9 GB of disk free? Then run make again." >&2; exit 1; }
	@rm -rf $(VENV)/uv
	@touch $@

$(BIN)/python:
	@python=$$($(FIND_PYTHON)); echo "Creating $(VENV) with $$("$$python" --version) ..."; \
		"$$python" -m venv $(VENV) || { echo "python -m venv failed (on Debian: apt install python3-venv)." >&2; rm -rf $(VENV); exit 1; }
