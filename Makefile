# `make help` lists what there is. The environment lives in .venv and is made when it is missing or
# when a requirements file has changed.

SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
export PORT

.PHONY: help setup demo run test lint pytest check screenshots bench clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=, such as make demo PYTHON=python3.12." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): requirements.txt $(VENV)/.python
	@echo "Installing what the product needs…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@echo "Installing what testing needs…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

setup: $(RUNTIME) ## Make the environment without starting anything

demo: $(RUNTIME) ## Start with sample households and a simulated cloud, ready to click
	@exec $(BIN)/python manage.py start --demo

run: $(RUNTIME) ## Start for real hubs
	@exec $(BIN)/python manage.py start

test: lint check pytest ## Run every check and every test, in real browsers and processes too

lint: $(DEV) ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .

check: $(DEV) ## Check settings, migrations and the production configuration
	@DATA_DIR="$$(mktemp -d)" ENV_FILE= $(BIN)/python manage.py makemigrations --check --dry-run
	@DATA_DIR="$$(mktemp -d)" ENV_FILE= PUBLIC_URL=https://hubs.example.org $(BIN)/python -W error manage.py check --deploy --fail-level WARNING

pytest: $(DEV)
	@CHROMIUM="$$($(BIN)/python tests/find_browser.py)" && export CHROMIUM && $(BIN)/python -m pytest

screenshots: $(DEV) ## Take the README's screenshots anew
	@CHROMIUM="$$($(BIN)/python tests/find_browser.py)" && export CHROMIUM && $(BIN)/python -m tests.browser.screenshots

bench: $(DEV) ## Measure the simulated cloud with ten thousand hubs
	@$(BIN)/python -m tests.bench.bench_simcloud

clean: ## Remove the environment and caches, never var/
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
