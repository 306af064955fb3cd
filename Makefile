# Everything a developer runs here: environment, tests, checks, demo. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Test processes at a time; 0 runs all tests in one.
WORKERS ?= 2
N ?= 100
SEED ?= 0

BIN := $(VENV)/bin
# One file says that the environment holds what pyproject.toml and constraints.txt ask for.
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv test differential faults lint format demo bench constraints clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP) ## Make the environment, if pyproject.toml or constraints.txt changed

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e . --group dev
	@touch $@

test: venv ## Run the tests, WORKERS files at a time; more arguments in PYTEST_ARGS
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

differential: venv ## Compare N random groups (SEED) in Airflow and on the emulator; print the first difference
	@DIFFERENTIAL_EXAMPLES=$(N) DIFFERENTIAL_SEED=$(SEED) \
		$(BIN)/python -m pytest tests/differential/test_random.py -q --timeout 0 $(PYTEST_ARGS)

faults: venv ## Kill workers and triggerers and let calls fail, in hundreds of runs of a real Airflow
	@FAULT_RUNS=100 STORM_RUNS=300 $(BIN)/python -m pytest tests/faults -q --timeout 0 $(PYTEST_ARGS)

lint: venv ## Check style, types and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv ## Write the style that lint asks for
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

demo: venv ## Run the example DAG on the emulator and print what happened
	@$(BIN)/python example_dags/run_demo.py

bench: venv ## Run the benchmarks
	@$(BIN)/python -m benchmarks

# One file for every supported Python. "fewest": the same release on all of them wherever one serves all;
# otherwise each Python gets a kfp of its own, and compiled pipelines differ between them.
constraints: venv ## Resolve the dependencies again and write constraints.txt
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --fork-strategy fewest --upgrade \
		--quiet --no-emit-index-url --no-header --no-annotate --output-file constraints.txt

clean: ## Remove the environment and every cache
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
		.hypothesis .benchmarks demo-state
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
