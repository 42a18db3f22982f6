# make demo: install and run the first experiment.   make test: install, lint, run the tests.
# A Python >= 3.11 is all that is needed; everything is installed into .venv. ARGS='key=value …' goes to the experiment.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
EXPERIMENT ?= experiments/exgra_10pct.py
PARALLEL ?= --numprocesses 2 --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow coverage docs lint format clean

help:
	@echo 'make demo       install, then: lightning run $(EXPERIMENT)'
	@echo 'make test       install, lint, run the tests (a few minutes)'
	@echo 'make test-slow  the slow tests: installation, long runs, several processes, notebooks'
	@echo 'make coverage   the tests again, with the lines they miss'
	@echo 'make docs       build the documentation: site/index.html'
	@echo 'make lint       ruff and mypy'
	@echo 'make format     let ruff format and mend what it can'
	@echo 'make clean      remove caches and .venv; keeps runs/'

demo: $(READY)
	$(BIN)/lightning run $(EXPERIMENT) $(ARGS)

test: lint
	$(BIN)/pytest $(PARALLEL)

coverage: $(READY)
	$(BIN)/pytest --cov --cov-report=term

test-slow: $(READY)
	$(BIN)/pytest $(PARALLEL) -m slow

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo site/index.html

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "MedGraph needs Python 3.11 or newer, not $$($(or $(PYTHON),python3) --version 2>&1);" \
			"install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo 'installing into .venv; the first time takes some minutes'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
