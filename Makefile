# Two commands do everything: make demo, make test. Both create .venv and use it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NNUNET := $(VENV)/nnunet
LOWEST := $(VENV)/lowest
# Old libraries beside new ones, old MONAI beside its torch.
OLD_WARNINGS := -W ignore::DeprecationWarning -W "ignore:Using a non-tuple sequence"
RUN := $(BIN)/python -m
# One process per core, each with whole files, or with a folder whose tests share what is made once (tests/conftest.py).
# The run ends with the first process that dies, which pytest-xdist would else wait for when it hands out whole files.
PARALLEL := -n auto --dist loadgroup --no-loadscope-reorder --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-lowest test-gpu lint types check docs bench bench-gpu clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/ready ## create .venv with everything that is needed

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup ## phantoms -> cache -> training -> scores -> a prediction -> a report -> few-shot fine-tuning; minutes on two cores
	$(RUN) uniseg.prepare experiment=demo
	$(RUN) uniseg.train experiment=demo overwrite=true
	$(RUN) uniseg.evaluate experiment=demo
	$(RUN) uniseg.predict checkpoint=outputs/demo/checkpoints/last.ckpt input=outputs/phantoms/unseen output=outputs/demo/prediction
	$(RUN) uniseg.report run=outputs/demo
	@$(BIN)/python -c "import json; print('mean test Dice %.3f' % json.load(open('outputs/demo/evaluation/metrics.json'))['mean_dice'])"
	$(RUN) uniseg.finetune experiment=demo_finetune overwrite=true
	$(RUN) uniseg.evaluate experiment=demo_finetune
	$(RUN) uniseg.report run=outputs/demo_finetune

test: setup ## the tests
	OMP_NUM_THREADS=1 $(RUN) pytest -m "not slow and not gpu" $(PARALLEL)

test-slow: setup ## the tests that take minutes
	$(RUN) pytest -m "slow and not gpu" -o faulthandler_timeout=3600

$(LOWEST)/ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --upgrade pip
	$(LOWEST)/bin/pip install --quiet --constraint constraints-lowest.txt --editable '.[dev]'
	touch $@

test-lowest: $(LOWEST)/ready ## the tests with the lowest versions that are allowed; torch 2.8 comes with 3 GB of CUDA on x86-64
	$(LOWEST)/bin/python -m pytest -m "not slow and not gpu" $(PARALLEL) $(OLD_WARNINGS)

test-gpu: ## the tests that need a CUDA device, at most 3 minutes; with the machine's own PYTHON, nothing is installed
	PYTHONPATH=src:$$PYTHONPATH timeout 180 $(PYTHON) -m pytest -q -m gpu -p no:cacheprovider -o filterwarnings=default \
		$$(grep -rl --include='test_*.py' 'mark\.gpu' tests)

lint: setup ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## types
	$(BIN)/mypy

check: lint types ## style, types, layers
	$(RUN) pytest -q tests/test_layering.py

docs: setup ## the documentation as a site, in outputs/site; a warning is an error
	$(BIN)/zensical build --strict

$(NNUNET)/ready: constraints.txt
	$(PYTHON) -m venv $(NNUNET)
	$(NNUNET)/bin/pip install --quiet --constraint constraints.txt nnunetv2==2.8.1
	touch $@

bench: setup $(NNUNET)/ready ## measure a quiet machine, an hour; BENCH="step augment": those alone; DATA=<folder of scans>, SCAN=<CT>
	$(BIN)/python benchmarks/bench_all.py --nnunet-python $(NNUNET)/bin/python \
		$(if $(DATA),--data $(DATA)) $(if $(SCAN),--scan $(SCAN)) $(BENCH)

bench-gpu: ## measure a card in 6 minutes with the machine's own PYTHON, nothing is installed; NNUNET_DIR=, GPU_OPTIONS=
	$(PYTHON) benchmarks/bench_gpu.py $(if $(NNUNET_DIR),--nnunet $(NNUNET_DIR)) $(GPU_OPTIONS)

clean: ## remove what the commands above made
	rm -rf $(VENV) outputs dist .pytest_cache .ruff_cache .mypy_cache
