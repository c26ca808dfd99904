# Two commands matter to a newcomer: `make demo` and `make test`; both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(wildcard proto/iplab/v1/*.proto)
GENERATED := client/iplab/v1

# uv does not read pip's settings: pass on a folder of local wheels and a certificate bundle if pip is told of them.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif

# Tests that run at the same time; auto: one more than there are cores, as far as memory allows.
WORKERS ?= auto
# Python may keep what it has compiled: hundreds of tests start processes.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS)
# What a change to the numbers or to the store breaks first.
QUICK := tests/ipcore tests/ipserver/request tests/ipserver/store tests/iplab

.PHONY: help setup demo test quick cluster-test faults ballistic check format proto migration bench reference reproduce clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## create .venv with the tested versions
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'uv>=0.5'
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	touch $@

demo: setup ## start the service, train the quickstart, show the table
	$(BIN)/python examples/demo.py

test: setup ## the test suite, on all cores (WORKERS=1; PostgreSQL where IPLAB_TEST_POSTGRES holds a DSN)
	$(PYTEST) --durations=25 --durations-min=0.5

quick: setup ## a minute or so of it: theory, training, specs, store (SQLite), client
	$(PYTEST) -q -m "not slow and not ray and not postgres" $(QUICK)
	@echo "left out: Ray, PostgreSQL, what is marked slow, the server but its specs and store, deploy/, the wheel (make test)"

cluster-test: setup ## the stack of deploy/compose.yaml for real on this machine (root, IPLAB_TEST_POSTGRES)
	$(BIN)/python -m tests.cluster

faults: setup ## each fault before, during and after what it interrupts, for 0, 5, 30 s (under 30 minutes)
	$(BIN)/python -m tests.faults matrix $(FAULTS)

ballistic: setup ## 200 runs, random parts killed for ten minutes (BALLISTIC="--seconds 120 --seed 7")
	$(BIN)/python -m tests.faults ballistic $(BALLISTIC)

check: setup ## formatter, linter, types, import contracts, protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	./proto/check

format: setup ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: setup ## generate client/iplab/v1 from proto/
	./proto/generate $(GENERATED)

migration: setup ## draft the migration to the tables of the code (MESSAGE="Runs know their last rate")
	@test -n "$(MESSAGE)" || { echo 'say what changes: make migration MESSAGE="..."' >&2; exit 2; }
	$(BIN)/python -m ipserver.store.drafting "$(MESSAGE)"
	$(BIN)/ruff format --quiet server/ipserver/store/migrations

bench: setup ## benchmarks: ratios against a baseline in the same run
	$(BIN)/python -m tests.benchmarks

reference: setup ## the API reference of SDK, ipcore and protos from the code, into .reference/
	$(BIN)/python docs/build_reference.py

reproduce: setup ## measure what docs/reproduction.md says (under two hours; MNIST by IPLAB_DATA), rewrite it
	$(BIN)/python -m reproduction

clean: ## remove what the targets made
	rm -rf $(VENV) .demo .reference .reproduce .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
