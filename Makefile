# Needs Python 3.11 to 3.13 with venv and pip, a POSIX shell and make; everything else goes into .venv.
#
#   make PYTHON=/path/to/python3.12 ...   which Python to build .venv from
#   make VENV=venv312 ...                 another place for the environment
#   make test ARGS="-k wash -x"           options for the command behind a target

VENV ?= .venv
ARGS ?=
PY = "$(VENV)/bin/python"

FITTING = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# An environment is of use when it was finished for this very folder (its scripts hold absolute paths) and its
# Python still runs.  Anything else is made again.
SOUND := $(shell test "`cat '$(VENV)/made' 2>/dev/null`" = "`pwd`" && '$(VENV)/bin/python' -c '' 2>/dev/null && echo yes)

.DELETE_ON_ERROR:
.PHONY: help reproduce test test-all bench docs lint clean always

help:
	@echo "make reproduce  run every claim of the ledger: what the paper reports against what the model gives"
	@echo "make test       the fast tests (minutes)"
	@echo "make test-all   make test, then the slow tests: notebooks, installing the wheel"
	@echo "make bench      the benchmarks, by hand"
	@echo "make docs       the site, into site/; fails on any warning"
	@echo "make lint       ruff and mypy --strict"
	@echo "make clean      remove .venv, caches and build products"

# make itself ends with 2 for any failure, so the status of the command is printed: 0, 1 and 2 mean different things.
reproduce: $(VENV)/run.stamp
	@status=0; "$(VENV)/bin/kinetics" reproduce $(ARGS) || status=$$?; \
	echo "kinetics reproduce: exit status $$status (0: no answered core claim fails, 1: one does, 2: it could not run)" >&2; \
	exit $$status

test: $(VENV)/test.stamp
	$(PY) -m pytest -n auto --dist loadfile -m "not slow" $(ARGS)

test-all: test
	$(PY) -m pytest -m slow $(ARGS)
	@if ls notebooks/*.ipynb >/dev/null 2>&1; then set -x; $(PY) -m pytest --nbmake --nbmake-timeout=600 notebooks; fi

bench: $(VENV)/test.stamp
	$(PY) benchmarks/dose_response.py $(ARGS)

docs: $(VENV)/docs.stamp
	$(PY) -m mkdocs build --strict $(ARGS)

lint: $(VENV)/test.stamp
	$(PY) -m ruff check .
	$(PY) -m mypy --strict -p kinetics -p fits

clean:
	rm -rf "$(VENV)" build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What the package needs to run, and what the tests need on top: two stamps, so that reproduce installs no test tools.
$(VENV)/run.stamp: $(VENV)/made pyproject.toml
	@echo "Installing cytokine-kinetics and what it needs into $(VENV) (minutes the first time) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable .
	@touch "$@"

$(VENV)/test.stamp: $(VENV)/run.stamp pyproject.toml
	@echo "Installing what the tests need into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch "$@"

$(VENV)/docs.stamp: $(VENV)/run.stamp pyproject.toml
	@echo "Installing what the site needs into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch "$@"

ifneq ($(SOUND),yes)
$(VENV)/made: always
endif

# An environment made by hand (README, "without make") is adopted; one that is neither ours nor of use is not touched.
$(VENV)/made:
	@if test -e "$(VENV)" && ! test -e "$@"; then \
	  if $(PY) -c "$(FITTING)" 2>/dev/null && $(PY) -m pip --version >/dev/null 2>&1; then \
	    echo "Using the environment found in $(VENV)"; pwd >"$@"; exit 0; \
	  fi; \
	  echo "$(VENV) is not an environment of Python 3.11 to 3.13 with pip: remove it, or choose another with VENV=..." >&2; \
	  exit 1; \
	fi; \
	found=; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
	  if "$$candidate" -c "$(FITTING)" 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if test -z "$$found"; then \
	  echo "No Python 3.11, 3.12 or 3.13 with venv and ensurepip found $(if $(PYTHON),as $(PYTHON),among python3 and python3.13 to python3.11 on PATH)." >&2; \
	  echo "Install one (Debian and Ubuntu: also its python3-venv package), or say which: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with `"$$found" --version`"; \
	rm -rf "$(VENV)" && mkdir -p "$(VENV)" && echo unfinished >"$@" && "$$found" -m venv "$(VENV)" && pwd >"$@"
