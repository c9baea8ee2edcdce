# make demo: set up, run the main job.  make test: set up, pass the tests.  make check: the whole gate.
# The environment is .venv; the file .venv/.ready says that it is up to date with pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SPHINX := $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs build/docs

.PHONY: demo test lint check format docs clean

demo: $(READY)
	$(BIN)/python examples/demo.py

# Tests run in a process per core, a file in one process. One thread each: torch's threads would wait for each other.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest --doctest-modules src

check: lint test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/code_size.py
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m benchmarks.pages --check
	$(SPHINX)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The generated parts of the pages, then the site: build/docs/index.html
docs: $(READY)
	$(BIN)/python docs/generate.py
	$(SPHINX)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
