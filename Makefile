PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    ?= .venv
RECIPE  ?= smoke
RUN     ?= $(RECIPE)
WORKERS ?= 1
PY      := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help reproduce test sync figures notebooks demo clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

reproduce: $(VENV)/.run ## everything: install, run RECIPE (smoke), write tables and figures
	$(VENV)/bin/semcoder reproduce $(RECIPE) --run $(RUN)

test: sync ## every notebook as a test, attacks on the sandbox (more of them: SEMCODER_CASES=FILE), the installed packages
	$(PY) .ci/attack.py nbs/fixtures/attacks.py $(SEMCODER_CASES)
	$(VENV)/bin/nbdev_test --n_workers $(WORKERS) --timing
	$(PY) -m pip check

sync: $(VENV)/.dev ## would nbdev_export or nbdev_clean change a file? (works on a copy)
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	cp -R settings.ini setup.py README.md nbs semcoder "$$copy" && \
	bin=$$(cd $(VENV)/bin && pwd) && (cd "$$copy" && "$$bin/nbdev_export" && "$$bin/nbdev_clean") && \
	for folder in nbs semcoder; do \
	    diff -rq -x __pycache__ -x .ipynb_checkpoints $$folder "$$copy/$$folder" || \
	    { echo "$$folder/ is out of step: run nbdev_export and nbdev_clean"; exit 1; }; \
	done && echo "the notebooks are clean and semcoder/ is what they export"

figures: $(VENV)/.run ## draw the tables and figures of RUN (smoke) again
	$(VENV)/bin/semcoder figures --run $(RUN) --out figures

notebooks: $(VENV)/.dev ## open JupyterLab on the notebooks
	$(VENV)/bin/jupyter lab nbs

demo: $(VENV)/.run ## make the small run in nbs/fixtures anew, without its models
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
	$(VENV)/bin/semcoder reproduce demo --run fixture --home "$$home" && \
	rm -rf nbs/fixtures/demo && cd "$$home/fixture" && \
	for file in */*.parquet */manifest.json */plan.json; do \
	    mkdir -p "$(CURDIR)/nbs/fixtures/demo/$${file%/*}" && cp "$$file" "$(CURDIR)/nbs/fixtures/demo/$$file"; \
	done && echo "nbs/fixtures/demo is new: run the notebooks on it, and commit both"

clean: ## remove build products and caches; keeps $(VENV) and runs/
	rm -rf build dist
	find nbs semcoder -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# Each stamp says that a step of the installation is finished, so that a second call is quick.
# torch comes first and by its exact version: a CPU wheel that is at hand is then taken.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "semcoder needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made settings.ini setup.py pyproject.toml
	$(PY) -c 'import torch' 2>/dev/null || $(PY) -m pip install torch==2.13.0
	$(PY) -m pip install -e '.[seeds]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PY) -m pip install -e '.[dev,seeds,cluster]'
	@touch $@
