.DEFAULT_GOAL := help
VENV := .venv
PYTHON ?= python3
READY := $(VENV)/.ready
VERSIONS := -c constraints.txt
PYTEST := $(VENV)/bin/pytest -q -n auto --dist worksteal

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet $(VERSIONS) -e ".[dev]"
	touch $(READY)

install: $(READY)  ## A .venv with the package, its commands, and its dependencies at the versions of constraints.txt

train: $(READY)  ## A first run: RealnessGAN on the embedded digits
	$(VENV)/bin/gan-train objective=realness num_outcomes=51

test: $(READY)  ## The quick tests, about three minutes on two cores: every pair of choices trains
	$(PYTEST) -m "not slow"

test-slow: $(READY)  ## The other tests: every combination of choices
	$(PYTEST) -m slow

test-all: test test-slow  ## Every test, each once

test-faults: $(READY)  ## Kills, full disks, hostile files, many times: prints the table of docs/reliability.md
	$(VENV)/bin/python -m tests.faults

test-newest:  ## The quick tests with the newest dependencies, in a .venv-newest
	rm -f .venv-newest/.ready
	$(MAKE) test VENV=.venv-newest VERSIONS="--upgrade --upgrade-strategy eager"

sweep: $(READY)  ## The default comparison: eleven methods, three seeds, about half an hour on two cores
	$(VENV)/bin/gan-sweep -m

toys: $(READY)  ## The table of docs/methods.md: every objective on ring and grid, three seeds, about half an hour
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH $(VENV)/bin/python benchmarks/toys.py

check: $(READY) binaries  ## Format, lint, types, and no binary file outside docs/ and gan_cli/metrics/weights/
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

binaries:  ## Lists binary files in git's index outside docs/ and gan_cli/metrics/weights/
	@files=$$(git ls-files --eol -- ':!docs' ':!gan_cli/metrics/weights' ':!tests/samples') && ! echo "$$files" | grep '^i/-text'

layers: $(READY)  ## Lines of the core, imports of higher layers, import cycles
	$(VENV)/bin/python -m tests.layers

.PHONY: help install train test test-slow test-all test-faults test-newest sweep toys check binaries layers
