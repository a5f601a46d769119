PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
CLIPS ?= 300

.DEFAULT_GOAL := help
.PHONY: help env test test-slow lint types demo bench clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP)  ## Make the environment in .venv (Python 3.11)

$(STAMP): constraints.txt pyproject.toml packages/curation/pyproject.toml packages/model/pyproject.toml packages/eval/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; install it, or: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@echo "installing the packages and what they need (several GB with PyTorch; minutes on a fast line)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev \
		--editable "packages/curation[all]" --editable packages/model --editable "packages/eval[human]"
	@# DeAOT's package asks for spatial-correlation-sampler, which builds almost nowhere and is not needed.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps deaotpy
	@touch $@

test: env  ## Run the default suite
	$(BIN)/python -m pytest -m "not slow"

test-slow: env  ## Run what takes longer: Ray, kills, a cluster
	$(BIN)/python -m pytest -m slow --durations=8

lint: env  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env  ## Check types
	$(BIN)/mypy

demo: env  ## See all of MagDiff at work: draw, curate, train, generate, edit, score. Or VIDEO=my.mp4 SUBJECT="dog" [BOX=x0,y0,x1,y1]
	$(BIN)/python pipelines/demo.py --clips $(CLIPS) $(if $(VIDEO),--video "$(VIDEO)" --subject "$(SUBJECT)" --box "$(BOX)")

bench: env  ## Measure the oracle, the labels and curation on held-out clips (20 minutes)
	$(BIN)/python bench/oracles.py
	$(BIN)/python bench/labels.py
	$(BIN)/python bench/curation.py

clean:  ## Remove the environment and everything that was made
	rm -rf .venv data .pytest_cache .mypy_cache .ruff_cache
