# Everything runs in an environment of its own, made by the first command that needs it.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/.installed

.PHONY: demo test unit lint bench bench-all clean help

help:
	@echo "make demo    install into $(VENV), then show the program on its embedded miniature (minutes)"
	@echo "make test    install, then run the tests (make test ARGS='-k dvar' for some of them)"
	@echo "make unit    the tests without Ray, networks and processes: under a minute"
	@echo "make lint    ruff, mypy --strict, import-linter"
	@echo "make bench   compare speeds side by side; make bench-all also what takes 40 minutes"
	@echo "make clean   remove the environment and caches"

demo: $(ENVIRONMENT)
	$(BIN)/dvar demo

test: $(ENVIRONMENT)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

unit: $(ENVIRONMENT)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -q -m "not ray and not model and not process and not slow and not gpu" $(ARGS)

lint: $(ENVIRONMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(ENVIRONMENT)
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-all: bench
	$(BIN)/python tests/benchmarks/bench_overhead.py --yes
	$(BIN)/python tests/benchmarks/bench_live_search.py --yes

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(ENVIRONMENT): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dvar-tune needs Python 3.11 or newer; set PYTHON")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
