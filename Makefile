# make demo: the whole idea on rendered faces. make test: the tests. make bench: docs/performance.md, with RUN=FOLDER of
# a finished run one plot more. All set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo foundation test test-slow check bench

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/fau-mae run quickstart

# The weights that come with the package: an hour and a quarter on a CPU core. PHOTOS=stores/a,stores/b: stores of photographs to read too.
foundation: setup
	$(BIN)/fau-mae run foundation $(if $(PHOTOS),--set 'data.unlabelled=[$(PHOTOS)]')
	$(BIN)/fau-mae save runs/foundation --half --out fau_mae/weights/shipped

# Two test processes of one thread each: more threads than cores would only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: setup
	$(PYTEST)

test-slow: setup
	$(PYTEST) -m slow --timeout 1200

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks

bench: setup
	$(BIN)/python benchmarks/performance.py $(if $(RUN),--run $(RUN))
