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
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
# For checks: nothing of a real installation reaches them from the shell.
APART := env -u DATABASE_URL -u REDIS_URL ENV_FILE= DATA_DIR="$(SCRATCH)"
# Variables on the command line (PORT=, CLOUD_PORT=, BIND=) reach the programs through the environment.

.PHONY: help setup demo run test lint lint-types lint-style check pytest coverage pythons lock words key screenshots pictures lighthouse homeassistant bench chaos rolling stories image soak clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

# An environment that works is kept; one whose Python no longer runs is made again.
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

lint: $(DEV) ## Check style, format, types, dangerous calls and the lock; needs no network
	@$(MAKE) --no-print-directory --jobs 2 lint-types lint-style

lint-types: $(DEV)
	@$(APART) $(BIN)/python -m mypy .
	@$(APART) DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m tests.tools.words --check

lint-style: $(DEV)
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@find templates -name '*.html' -exec $(BIN)/djade --check --target-version 5.2 {} +
	@$(BIN)/djlint --quiet --lint templates
	@! LC_ALL=C.UTF-8 grep -rnE --include='*.html' --include='*.txt' '.{121}' templates
	@$(BIN)/lint-imports --no-cache | tail -n 3
	@$(BIN)/python docs/tools/draw_rooms.py --check
	@$(BIN)/python docs/tools/list_settings.py --check
	@$(BIN)/python docs/tools/check_links.py
	@$(BIN)/python -m bandit -q -c pyproject.toml --severity-level medium -r devices thermacell_web static manage.py
	@$(BIN)/python -m tests.tools.lock

check: $(DEV) ## Check migrations and the production settings
	@$(APART) $(BIN)/python -W error manage.py makemigrations --check --dry-run
	@$(APART) PUBLIC_URL=https://hubs.example.org BEHIND_PROXY=true $(BIN)/python -W error manage.py check --deploy --fail-level WARNING

# Tests of real processes mostly wait for them, so more runners than two cores are kept busy.
SIDE_BY_SIDE := -n 5 --dist loadfile --no-loadscope-reorder
# Of thousands of tests beside each other one may meet a busy moment. It is tried once more, and
# the end of the output says which and why.
ONCE_MORE := --reruns 1

# The parts share databases that have their tables already, by the number of this process.
pytest: export TEST_RUN_PREPARED := $(shell echo $$PPID)
pytest: $(DEV) ## Run the tests: on SQLite, on PostgreSQL, in a browser
	@cover="$$($(BIN)/python -c 'import sys; print("--cov" * (sys.version_info >= (3, 12)))')"; \
	$${cover:+env COVERAGE_CORE=sysmon} $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $(ONCE_MORE) -m "not browser and not stories and not long" $$cover; \
	if [ -z "$$cover" ]; then echo "make coverage prints which lines were run; from Python 3.12 on, so does this."; fi
	@postgres="$$($(BIN)/python -m tests.support.services postgres)"; \
	if [ -n "$$postgres" ]; then \
	    echo "The same tables and pages on PostgreSQL:"; \
	    TEST_RUN_DATABASE_URL="$$postgres" $(BIN)/python -m pytest -q -n 3 --dist loadfile $(ONCE_MORE) -m "database and not browser and not processes"; \
	elif [ "$${CI:-}" = true ]; then \
	    echo "No PostgreSQL answers: TEST_DATABASE_URL may name one. With CI=true nothing is left out." >&2; exit 1; \
	else \
	    echo "Left out: everything once more on PostgreSQL, since none answers; TEST_DATABASE_URL may name one."; \
	fi
	@chromium="$$($(BIN)/python -m tests.tools.find_browser)"; \
	CHROMIUM="$$chromium" $(BIN)/python -m pytest -q -n 2 --dist loadfile $(ONCE_MORE) -m browser || { code=$$?; [ $$code -eq 5 ]; }
	@$(BIN)/python -m tests.support.prepared

# Counting lines costs a seventh more CPU with Python 3.12 (sys.monitoring), but up to two thirds more
# with 3.11: there it is only done when asked for. Of other processes nothing is counted.
coverage: $(DEV) ## Print which lines the tests without processes and browser never ran
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not browser and not processes" --cov --cov-report=term-missing

pythons: $(DEV) ## Run the quick tests on every supported Python that is installed
	@$(BIN)/python -m tests.tools.pythons

# A version changes in a .in file, or with UPGRADE=--upgrade-package=NAME (--upgrade: all of them).
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links --annotation-style line
lock: $(DEV) ## Write the locks from the .in files; needs the network
	@$(LOCK) $(UPGRADE) requirements.in --output-file requirements.txt
	@$(LOCK) $(UPGRADE) requirements-dev.in --output-file requirements-dev.txt

words: $(DEV) ## Gather the words to translate, and compile what is translated
	@$(APART) DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m tests.tools.words

key: $(RUNTIME) ## Print a fresh key for ENCRYPTION_KEYS
	@$(APART) ENCRYPTION_KEYS= $(BIN)/python manage.py new_key

screenshots: $(DEV) ## Take the README's screenshots again
	@CHROMIUM="$$($(BIN)/python -m tests.tools.find_browser)" $(BIN)/python -m tests.browser.screenshots

pictures: $(DEV) ## Take a picture of every page in every look, in var/pictures
	@rm -rf var/pictures; mkdir -p var/pictures
	@CHROMIUM="$$($(BIN)/python -m tests.tools.find_browser)" PICTURES="$(CURDIR)/var/pictures" \
	    $(BIN)/python -m pytest -q -n 2 --dist loadfile -m browser -k every_page_on_a tests/browser

lighthouse: $(DEV) ## Let Lighthouse judge the main pages, not part of make test; needs Node with npm
	@CHROMIUM="$$($(BIN)/python -m tests.tools.find_browser)" $(BIN)/python -m tests.tools.lighthouse

# HOMEASSISTANT_VERSION= and HOMEASSISTANT_PYTHON= choose others; it is installed in var/homeassistant.
homeassistant: $(DEV) ## Judge the product by a real Home Assistant, not part of make test (a quarter of an hour)
	@CHROMIUM="$$($(BIN)/python -m tests.tools.find_browser)" $(BIN)/python -m tests.homeassistant.real

bench: $(DEV) ## Measure pages, a held-up server, trail, simulated cloud and bridge (a quarter of an hour)
	@$(BIN)/python -m tests.bench.bench_pages
	@$(BIN)/python -m tests.bench.bench_silent
	@$(BIN)/python -m tests.bench.bench_readings
	@$(BIN)/python -m tests.bench.bench_plans
	@$(BIN)/python -m tests.bench.bench_trail
	@$(BIN)/python -m tests.bench.bench_simcloud
	@$(BIN)/python -m tests.bench.bench_homeassistant

# SEED= repeats a run; INSTALLS= and KILLS= say how long one is.
INSTALLS ?= 2000
KILLS ?= 200
chaos: $(DEV) ## Try to break it: installs under kills and faults, on SQLite, on PostgreSQL and on two hosts (over two hours)
	@$(BIN)/python -m pytest -q -n 2 -m long tests/test_chaos.py
	@$(BIN)/python -m tests.chaos --installs $(INSTALLS) --kills $(KILLS) --seed "$(SEED)"
	@$(BIN)/python -m tests.chaos --installs $(INSTALLS) --kills $(KILLS) --seed "$(SEED)" --postgres
	@$(BIN)/python -m tests.chaos --installs $(INSTALLS) --kills $(KILLS) --seed "$(SEED)" --hosts 2

# OLD= names the commit to upgrade from; else the newest one whose migrations are the first of today's.
OLD ?=
rolling: $(DEV) ## Upgrade two hosts one after the other while people install; needs PostgreSQL and the git history
	@$(BIN)/python -m tests.chaos --rolling --old "$(OLD)" --installs 150 --homes 6 --hubs 6 --seed "$(SEED)"

stories: $(DEV) ## Live through planned nights, clock changes and a power cut under a moved clock; needs cc
	@$(BIN)/python -m pytest -q -n 2 -m stories tests/stories

image: ## Build the container image and run it, without a container engine; needs root, buildah, debootstrap
	@bash tests/tools/image.sh

soak: $(DEV) ## Live through sixty days of checks and installs, and watch the memory (twenty minutes)
	@$(BIN)/python -m tests.bench.soak

clean: ## Remove the environment, caches and the demo's data, never the real data in var/home
	@rm -rf $(VENV) .coverage var/pythons .mypy_cache .ruff_cache .pytest_cache .hypothesis var/demo "$(SCRATCH)"
