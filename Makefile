# Two commands: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check up schema bench

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[embedded,otel,dev]'
	touch $@

demo: setup
	$(BIN)/python -m automation.demo

up: setup
	$(BIN)/automation up

test: setup
	$(BIN)/pytest $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# at least 3,000 requests that Schemathesis makes up; `make test` has a shorter run
schema: setup
	SCHEMA_EXAMPLES=60 $(BIN)/pytest -s tests/integration/api/test_schema.py $(ARGS)

bench: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[embedded,otel,dev,bench]'
	$(BIN)/python -m benchmarks
