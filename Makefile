.DEFAULT_GOAL := help
PYTHON ?= python3
HAS_TORCH := import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)
# The environment that is active: a conda environment only if it has PyTorch, as its base is nearly always active.
ACTIVE := $(or $(VIRTUAL_ENV),$(if $(CONDA_PREFIX),$(shell "$(CONDA_PREFIX)/bin/python" -c '$(HAS_TORCH)' 2>/dev/null && echo "$(CONDA_PREFIX)")))
VENV := $(or $(ACTIVE),.venv)
READY := $(VENV)/.gan_cli-ready
VERSIONS := -c $(READY).txt
PYTEST := $(VENV)/bin/pytest -q -n auto --dist worksteal

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# A PyTorch that was there before the first installation is kept, such as a CPU build or one for this machine's GPU.
$(READY): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	if ! grep -qs '^torch==' $(READY).txt && $(VENV)/bin/python -c '$(HAS_TORCH)'; then grep -vE '^torch(vision)?==' constraints.txt; else cat constraints.txt; fi > $(READY).txt
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet $(VERSIONS) -e ".[dev]"
	touch $(READY)

install: $(READY)  ## The package, its commands and dependencies, in the active environment or else in a .venv
	@echo "installed in $(VENV)$(if $(ACTIVE),,; activate it with: . $(VENV)/bin/activate)"

train: $(READY)  ## A first run: RealnessGAN on the embedded digits
	$(VENV)/bin/gan-train objective=realness num_outcomes=51
	$(if $(ACTIVE),,@echo "gan-train and the other commands are in $(VENV); activate it with: . $(VENV)/bin/activate")

test: $(READY)  ## The quick tests, about four minutes on two cores: every pair of choices trains
	$(PYTEST) -m "not slow"

test-slow: $(READY)  ## The other tests: every three choices meet
	$(PYTEST) -m slow

test-all: test test-slow  ## Every test, each once

test-faults: $(READY)  ## Kills, full disks, hostile files, many times: prints the table of docs/reliability.md
	$(VENV)/bin/python -m tests.faults

test-newest:  ## The quick tests with the newest dependencies, in a .venv-newest
	rm -f .venv-newest/.gan_cli-ready
	$(MAKE) test VENV=.venv-newest VERSIONS="--upgrade --upgrade-strategy eager"

sweep: $(READY)  ## The default comparison: eleven methods, eight seeds, about 25 minutes on two cores
	$(VENV)/bin/gan-sweep -m

bench: $(READY)  ## The speed of turns on this machine, a few minutes; JSON in outputs/speed.json
	mkdir -p outputs
	$(VENV)/bin/python -m benchmarks.speed outputs/speed.json

toys: $(READY)  ## The table of docs/methods.md: every objective on ring and grid, three seeds, about half an hour
	PATH=$(abspath $(VENV))/bin:$$PATH $(VENV)/bin/python benchmarks/toys.py

gpu: $(READY)  ## The tests and benchmarks of a GPU in ten minutes: writes docs/benchmarks-gpu.md; without one, tiny sizes
	$(VENV)/bin/python -m benchmarks.gpu

check: $(READY) binaries  ## Format, lint, types, and no binary file outside docs/ and gan_cli/metrics/weights/
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

binaries:  ## Lists binary files in git's index outside docs/ and gan_cli/metrics/weights/
	@files=$$(git ls-files --eol -- ':!docs' ':!gan_cli/metrics/weights' ':!tests/samples') && ! echo "$$files" | grep '^i/-text'

layers: $(READY)  ## Lines of the core, imports of higher layers, import cycles
	$(VENV)/bin/python -m tests.layers

.PHONY: help install train test test-slow test-all test-faults test-newest sweep toys gpu check binaries layers
