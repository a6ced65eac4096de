#!/usr/bin/env bash
# Snakemake calls this once in the new environment: it adds cellvit-optimus itself, from the checkout in which Snakemake
# was started, else the released version (a wheel in a folder is found with PIP_FIND_LINKS=folder).
set -euo pipefail
source=cellvit-optimus==0.1.0
if grep -qs '^name = "cellvit-optimus"$' pyproject.toml; then source=.; fi
python -m pip install --no-deps "$source"
