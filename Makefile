# `make help` lists what there is. The environment lives in .venv; it is made when it is missing and
# brought up to date when a requirements file has changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
# Where the checks' own throw-away data goes; tests.settings knows the name.
SCRATCH := $(CURDIR)/var/thermacell-web-test-checks
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Said by the checks themselves: what the shell knows of a real installation is not for them.
APART := env -u DATABASE_URL -u REDIS_URL ENV_FILE= DATA_DIR="$(SCRATCH)"
# What make is told on the command line (PORT=, CLOUD_PORT=, BIND=) reaches the programs by itself.

.PHONY: help setup demo run test lint check pytest words key screenshots pictures bench chaos soak clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# An environment that works is kept, whoever made it; one whose Python no longer runs is made anew.
ifneq ($(shell $(BIN)/python -c 'print("runs")' 2>/dev/null),runs)
.PHONY: $(VENV)/.python
endif
$(VENV)/.python:
	@if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	    chosen=; \
	    for candidate in "$${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do \
	        if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then chosen="$$candidate"; break; fi; \
	    done; \
	    if [ -z "$$chosen" ]; then \
	        echo "Python 3.11 or newer is needed: install it, or say where it is with PYTHON=/path/to/python." >&2; exit 1; \
	    fi; \
	    rm -rf $(VENV); \
	    "$$chosen" -m venv $(VENV) || { rm -rf $(VENV); \
	        echo "$$chosen could not make an environment: on Debian and Ubuntu, install python3-venv." >&2; exit 1; }; \
	fi
	@touch $@

$(RUNTIME): requirements.txt $(VENV)/.python
	@echo "Installing what the product needs…"
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@echo "Installing what testing needs…"
	@$(PIP) -r requirements-dev.txt
	@touch $@

setup: $(RUNTIME) ## Make the environment without starting anything
	@echo "Ready: make demo tries it out, make run starts it for real hubs."

demo: $(RUNTIME) ## Start with sample households and a simulated cloud; PORT= chooses the port
	@ENV_FILE= DATA_DIR=var/demo exec $(BIN)/python manage.py start --demo --stop-with-parent

run: $(RUNTIME) ## Start for real hubs; PORT= chooses the port, .env.example lists the settings
	@exec $(BIN)/python manage.py start --stop-with-parent

test: lint check pytest ## Run every check and every test, in real browsers and processes too

lint: $(DEV) ## Check style, format, types, dangerous calls and pins; needs no network
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(APART) $(BIN)/python -m mypy .
	@$(BIN)/python -m bandit -q -c pyproject.toml --severity-level medium -r devices thermacell_web static manage.py
	@$(BIN)/python -m tests.pins
	@$(APART) DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m tests.words --check

check: $(DEV) ## Check migrations and the production settings
	@$(APART) $(BIN)/python -W error manage.py makemigrations --check --dry-run
	@$(APART) PUBLIC_URL=https://hubs.example.org $(BIN)/python -W error manage.py check --deploy --fail-level WARNING

# Tests of real processes mostly wait for them, so more runners than two cores are kept busy.
SIDE_BY_SIDE := -n 5 --dist loadfile --no-loadscope-reorder

pytest: $(DEV) ## Run the tests: on SQLite, on PostgreSQL, in a browser
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not browser"
	@postgres="$$($(BIN)/python -m tests.services postgres)"; \
	if [ -n "$$postgres" ]; then \
	    echo "The same tables and pages on PostgreSQL:"; \
	    TEST_RUN_DATABASE_URL="$$postgres" $(BIN)/python -m pytest -q -n 3 --dist loadfile -m "database and not browser and not processes"; \
	elif [ "$${CI:-}" = true ]; then \
	    echo "No PostgreSQL answers: TEST_DATABASE_URL may name one. With CI=true nothing is left out." >&2; exit 1; \
	else \
	    echo "Left out: everything once more on PostgreSQL, since none answers; TEST_DATABASE_URL may name one."; \
	fi
	@chromium="$$($(BIN)/python -m tests.find_browser)"; \
	CHROMIUM="$$chromium" $(BIN)/python -m pytest -q -n 2 --dist loadfile -m browser || { code=$$?; [ $$code -eq 5 ]; }

words: $(DEV) ## Gather the words to translate, and compile what is translated
	@$(APART) DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m tests.words

key: $(RUNTIME) ## Print a fresh key for ENCRYPTION_KEYS
	@$(APART) ENCRYPTION_KEYS= $(BIN)/python manage.py new_key

screenshots: $(DEV) ## Take the README's screenshots anew
	@CHROMIUM="$$($(BIN)/python -m tests.find_browser)" $(BIN)/python -m tests.browser.screenshots

pictures: $(DEV) ## Take a picture of every page in every look, in var/pictures
	@rm -rf var/pictures; mkdir -p var/pictures
	@CHROMIUM="$$($(BIN)/python -m tests.find_browser)" PICTURES="$(CURDIR)/var/pictures" \
	    $(BIN)/python -m pytest -q -n 2 --dist loadfile -m browser -k every_page_on_a tests/browser

bench: $(DEV) ## Measure pages, trail, simulated cloud and bridge (a quarter of an hour)
	@$(BIN)/python -m tests.bench.bench_pages
	@$(BIN)/python -m tests.bench.bench_trail
	@$(BIN)/python -m tests.bench.bench_simcloud
	@$(BIN)/python -m tests.bench.bench_homeassistant

# SEED= repeats a run; INSTALLS= and KILLS= say how long one is.
INSTALLS ?= 2000
KILLS ?= 200
chaos: $(DEV) ## Try to break it: installs under kills and faults, on SQLite and on PostgreSQL (three quarters of an hour)
	@$(BIN)/python -m tests.chaos --installs $(INSTALLS) --kills $(KILLS) --seed "$(SEED)"
	@$(BIN)/python -m tests.chaos --installs $(INSTALLS) --kills $(KILLS) --seed "$(SEED)" --postgres

soak: $(DEV) ## Live through sixty days of checks and installs, and watch the memory (twenty minutes)
	@$(BIN)/python -m tests.bench.soak

clean: ## Remove the environment, caches and the demo's data, never the real data in var/home
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis var/demo "$(SCRATCH)"
