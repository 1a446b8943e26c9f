.DEFAULT_GOAL := help
VENV := .venv
PYTHON ?= python3
READY := $(VENV)/.ready

help:  ## This list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet -e ".[dev]"
	touch $(READY)

install: $(READY)  ## A .venv with the package, its dependencies and its commands

train: $(READY)  ## A first run: RealnessGAN on the embedded digits
	$(VENV)/bin/gan-train objective=realness num_outcomes=51

test: $(READY)  ## Every test
	$(VENV)/bin/pytest -q -n auto --dist worksteal

sweep: $(READY)  ## The default comparison: eleven methods, three seeds, about half an hour on two cores
	$(VENV)/bin/gan-sweep -m

toys: $(READY)  ## The table of docs/methods.md: every objective on ring and grid, three seeds, about half an hour
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH $(VENV)/bin/python benchmarks/toys.py

check: $(READY)  ## Format, lint and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

.PHONY: help install train sweep test toys check
