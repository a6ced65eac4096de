# Everything from a fresh clone; it needs only Python 3.11, 3.12 or 3.13. `make` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEVELOPMENT := $(VENV)/.ready-development
UV := $(shell command -v uv 2>/dev/null)
PIP := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check)
INSTALL := $(PIP) -c constraints.txt
CORES ?= all
CONFIG ?=

help: ## list the targets
	@grep -hE '^[a-z_-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# A virtual environment also works if Debian manages the system's Python. If ensurepip is missing, the environment is created
# without pip, and the system's pip installs it there.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}; call make PYTHON=python3.11")'
	@echo "Setting up $(VENV) with $(if $(UV),uv,pip): once, a few minutes, most of it to download torch"
	$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }
	$(INSTALL) -e '.[slides]'
	@touch $@

$(DEVELOPMENT): $(READY)
	$(INSTALL) -e '.[dev]'
	@touch $@

.PHONY: help setup demo demo-own run verify lint check test docs test-slurm reliability clean

setup: $(READY) ## create .venv with pinned packages (make check adds the tools for development)

demo: $(READY) ## the whole workflow on simulated data, on a CPU, in minutes, and the nuclei of a simulated slide
	$(BIN)/cellvit demo

demo-own: $(READY) ## a simulated data set of another kind than PanNuke's, from its folder to the report, in minutes
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m cellvit simulate_dataset data/demo_own
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --workflow-profile profiles/demo_own

run: $(READY) ## a real run of config.yaml (CONFIG=mine.yaml overrides it)
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m cellvit doctor $(if $(CONFIG),--configfile $(CONFIG))
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG))

verify: $(READY) ## check whether the results of config.yaml are intact (CONFIG likewise)
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m cellvit verify $(if $(CONFIG),--configfile $(CONFIG))

lint: $(DEVELOPMENT) # format, lint, types, import layers, format and lint of the workflow
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile rules
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

check: lint ## format, lint, types, import layers, workflow lint and the quick tests
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 pytest -q -n auto -m "not slow and not workflow"

test: lint ## all tests except test-slurm, with real Snakemake runs of a small case
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 pytest -n auto --dist loadgroup -m "not slurm"

docs: $(DEVELOPMENT) ## the documentation as a site, in the folder site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir site

test-slurm: $(DEVELOPMENT) ## test profiles/slurm on a SLURM that is started for it (root on Debian; skipped elsewhere)
	$(BIN)/python tests/slurm/one_node_slurm.py install
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest -m slurm tests/slurm

RELIABILITY := tests/fuzz tests/workflow/test_kills.py tests/workflow/test_failures.py tests/workflow/test_cache.py \
  tests/formats/test_writing.py tests/formats/test_atomic.py tests/formats/test_locks.py tests/formats/test_full_disk.py \
  tests/formats/test_training_state.py tests/stages/test_resume_training.py tests/stages/test_equal_bytes.py

reliability: $(DEVELOPMENT) ## damage files, kill runs, fill disks: what docs/reliability.md describes
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 pytest $(RELIABILITY)

clean: ## remove .venv and the results of the demos
	rm -rf $(VENV) site results/demo results/demo_own data/demo_own data/demo_slide.ome.tif results/.cellvit_cache
