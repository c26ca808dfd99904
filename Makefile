# Two commands matter to a newcomer: `make demo` and `make test`; both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(wildcard proto/iplab/v1/*.proto)
GENERATED := client/iplab/v1

# uv does not read pip's settings, so pass on pip's folder of local wheels and its certificate bundle if they are set.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif

# Number of parallel test processes; auto: two more than the cores, as far as memory allows.
WORKERS ?= auto
# Let Python write bytecode: hundreds of tests start processes.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS)
# Tests that a change to the numbers or to the store breaks first.
QUICK_TESTS := tests/ipcore tests/ipserver/request tests/ipserver/store tests/iplab

.PHONY: help setup demo test quick times cluster-test faults ballistic fuzz check format proto migration bench reference reproduce paper clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## create .venv with the tested versions
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'uv>=0.5'
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -q client ipcore server
	touch $@

demo: setup ## start the service, train the quickstart, show the table
	$(BIN)/python examples/demo.py

test: setup ## run the test suite on all cores (WORKERS=1: on one; PostgreSQL if IPLAB_TEST_POSTGRES holds a DSN)
	$(PYTEST) --durations=25 --durations-min=0.5

quick: setup ## run a part of it in about a minute: theory, training, specs, store (SQLite), client
	$(PYTEST) -q --quick $(QUICK_TESTS)
	@echo "left out: tests of Ray, the rest of the server, deploy/ and the wheel, and what takes longer than .25 s (make test)"

times: setup ## run the test suite and note how long its tests take (tests/times.txt; on an idle machine)
	$(PYTEST) -q --write-times

cluster-test: setup ## run the real stack of deploy/compose.yaml on this machine (needs root and IPLAB_TEST_POSTGRES)
	$(BIN)/python -m tests.cluster

faults: setup ## inject each fault before, during and after an operation, for 0, 5, 30 s (about half an hour)
	$(BIN)/python -m tests.faults matrix $(FAULTS)

ballistic: setup ## train 200 runs while random parts are killed for ten minutes (BALLISTIC="--seconds 120 --seed 7")
	$(BIN)/python -m tests.faults ballistic $(BALLISTIC)

fuzz: setup ## send bad requests to every method for ten minutes (IPLAB_FUZZ_SECONDS=60 IPLAB_FUZZ_SEED=7)
	IPLAB_FUZZ_SECONDS=$${IPLAB_FUZZ_SECONDS:-600} IPLAB_FUZZ_SEED=$${IPLAB_FUZZ_SEED:-$$RANDOM} \
	  $(BIN)/python -m pytest -q tests/ipserver/api/test_fuzz.py

check: setup ## run formatter, linter, type checker, import contracts and proto checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	./proto/check

format: setup ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: setup ## generate client/iplab/v1 from proto/, and settings in proto/ from their declarations
	$(BIN)/python proto/settings.py
	./proto/generate $(GENERATED)

migration: setup ## draft a migration to the tables in the code (MESSAGE="Runs know their last rate")
	@test -n "$(MESSAGE)" || { echo 'say what changes: make migration MESSAGE="..."' >&2; exit 2; }
	$(BIN)/python -m ipserver.store.drafting "$(MESSAGE)"
	$(BIN)/ruff format --quiet server/ipserver/store/migrations

bench: setup ## run the benchmarks; ratios are against a baseline in the same run
	$(BIN)/python -m tests.benchmarks

reference: setup ## build the API reference of SDK, ipcore and protos from the code into .reference/
	$(BIN)/python docs/build_reference.py

paper: setup ## draw the figures of the paper and its notebooks: docs/paper.md (QUICK=1: in small, in minutes)
	$(BIN)/python -m reproduction --paper $(if $(QUICK),--quick)

reproduce: setup ## repeat the measurements of docs/reproduction.md and rewrite it (under two hours; MNIST in IPLAB_DATA)
	$(BIN)/python -m reproduction

clean: ## remove the files that the targets made
	rm -rf $(VENV) .demo .reference .reproduce .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
