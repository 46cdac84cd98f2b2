# Every target sets up what it needs: a virtual environment in $(VENV), made again only when
# pyproject.toml or constraints.txt change. Nothing else of the machine is touched.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
RESULTS ?= results
DETECTRON2 ?=
CHECK_ARGS ?=
GPU_STEPS ?=
PAGES ?=
FASHION_MNIST := /usr/share/datasets/fashion-mnist

BIN := $(VENV)/bin
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
INSTALLED := $(VENV)/.installed-$(KEY)

# Of npm's packages, where page-tools puts them.
VNU ?= $(VENV)/page-tools/node_modules/vnu-jar/build/dist/vnu.jar
AXE ?= $(VENV)/page-tools/node_modules/axe-core/axe.min.js

.DEFAULT_GOAL := help
.PHONY: help install reproduce tables report check test test-end-to-end test-slow test-faults test-system sanitize gpu bench lint format lock readme rates detectron2 data page-tools check-page dist examples clean

help:  ## this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

install: $(INSTALLED)  ## set up the environment (PIP_ARGS="--index-url ..." is passed to pip)

$(INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "awbench needs Python 3.11 to 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try make PYTHON=python3.11" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing awbench and its packages in $(VENV): about 2 minutes, 5.5 GB"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt $(PIP_ARGS) --editable '.[dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

reproduce: $(INSTALLED)  ## measure what this machine can, compare, write tables under $(RESULTS)
	$(BIN)/awbench reproduce --results $(RESULTS)

tables: $(INSTALLED)  ## print the tables again, from records alone
	$(BIN)/awbench table grid --results $(RESULTS)
	$(BIN)/awbench table complexity --results $(RESULTS)
	$(BIN)/awbench table latency --results $(RESULTS)

report: $(INSTALLED)  ## write $(RESULTS)/report.html and the figures again, from records alone
	$(BIN)/awbench report --results $(RESULTS)

check: $(INSTALLED)  ## the gate: counts, records and latency ratios; exit code 1 where something fails (CHECK_ARGS)
	$(BIN)/awbench check --results $(RESULTS) --measure --junit $(RESULTS)/check.xml --markdown $(RESULTS)/check.md $(CHECK_ARGS)

test: $(INSTALLED)  ## the tests, under 10 minutes on two cores
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile --durations 10 --durations-min 10

test-end-to-end: $(INSTALLED)  ## whole commands: a module from an empty folder to a verdict, sweeps, torchrun, reproduce
	$(BIN)/python -m pytest -m "end_to_end and not slow" --numprocesses auto --maxprocesses 8 --dist loadfile

test-slow: $(INSTALLED)  ## the tests that take minutes each (twenty kills, ...)
	$(BIN)/python -m pytest -m slow

test-faults: $(INSTALLED)  ## an hour or two: a fault at every call, 100 kills, 20,000 command lines and as many records
	@status=0; for command in "faults.py train" "faults.py sweep" "faults.py report" "faults.py table" "kills.py reproduce 34" \
	  "kills.py torchrun 34" "kills.py detector 34" "command_lines.py 20000" "record_mutations.py 20000"; do \
	  echo "== $$command"; PYTHONPATH=.:tests AWBENCH_AW_STRATEGY=rule $(BIN)/python tests/$$command 2>/dev/null || status=1; \
	done; exit $$status

test-system: $(INSTALLED)  ## faults that need Linux namespaces: /dev/shm, host names, a folder made read-only or full
	tests/system/run.sh $(abspath $(BIN))/python

sanitize: $(INSTALLED)  ## the C kernel's tests under gcc's address and undefined-behaviour sanitizers
	ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  CC="gcc -fsanitize=address,undefined -fno-sanitize-recover=all -g" AWBENCH_CACHE=$(VENV)/sanitized \
	  $(BIN)/python -m pytest -s tests/kernels -k direct

gpu: $(INSTALLED)  ## the first hour on a CUDA GPU, step by step, each with its verdict (GPU_STEPS="machine numerics ...")
	$(BIN)/python tools/gpu_check.py --output $(RESULTS)/gpu $(GPU_STEPS)

bench: $(INSTALLED)  ## pytest-benchmark suites; saved, and compared with the last saved run
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-autosave --benchmark-sort=name \
	  $(if $(wildcard .benchmarks/*/*.json),--benchmark-compare,)

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(INSTALLED)  ## for maintainers: write the locked counts again
	$(BIN)/awbench lock --results $(RESULTS)

readme: $(INSTALLED)  ## for maintainers: write the README's tables and figures again
	$(BIN)/python -m awbench.cli.readme

rates: $(INSTALLED)  ## for maintainers: simulate the error rates of docs/verdicts.md again
	$(BIN)/python tools/verdict_rates.py

detectron2: $(INSTALLED)  ## install detectron2: built once, the wheel kept in the user's cache (DETECTRON2=URL-or-path)
	$(BIN)/python tools/install_detectron2.py --constraint constraints.txt --pip-args="$(PIP_ARGS)" \
	  $(if $(DETECTRON2),--source "$(DETECTRON2)")

data:  ## install Fashion-MNIST where apt is: Debian's package dataset-fashion-mnist (root or sudo)
	@remedy="or give the folder of its four idx files with --data DIR"; package=dataset-fashion-mnist; \
	no() { echo "make data: $$1; $$remedy" >&2; exit 2; }; \
	! [ -d "$(FASHION_MNIST)" ] || { echo "Fashion-MNIST is in $(FASHION_MNIST)"; exit 0; }; \
	command -v apt-get >/dev/null || no "no apt-get here; awbench downloads Fashion-MNIST itself on first use"; \
	[ "$$(id -u)" = 0 ] && sudo= || sudo=sudo; \
	[ -z "$$sudo" ] || command -v sudo >/dev/null || no "needs root or sudo: as root, apt-get install $$package"; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq $$package && [ -d "$(FASHION_MNIST)" ] || \
	  no "apt-get could not install $$package"

# The Nu checker is the HTML standard's own; its version is pinned as the Python packages are in constraints.txt.
page-tools: $(INSTALLED)  ## what the tests of the report's page need: Chromium, Java and the Nu HTML checker (Debian, npm)
	@command -v chromium >/dev/null && command -v java >/dev/null && command -v npm >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	    chromium $$(command -v java >/dev/null || echo default-jre-headless) $$(command -v npm >/dev/null || echo npm); } || \
	  { echo "page-tools: needs chromium, java and npm; as root: apt-get install chromium default-jre-headless npm" >&2; exit 2; }
	@test -f $(VNU) -a -f $(AXE) || \
	  npm install --silent --no-save --prefix $(VENV)/page-tools vnu-jar@26.9.27 axe-core@4.14.1

check-page: $(INSTALLED)  ## the page in Chromium, 1280 and 375 px, light and dark: axe-core, the Nu checker, sizes, times, pictures (PAGES=...)
	PYTHONPATH=$(CURDIR) $(BIN)/python tests/check_page.py --output $(RESULTS)/check-page --axe $(AXE) --vnu $(VNU) $(PAGES)

dist: $(INSTALLED)  ## release check: build the wheel, install it in an environment of its own, run it there, check its types
	rm -rf dist && $(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist $(PIP_ARGS) .
	$(PYTHON) -m venv dist/venv
	dist/venv/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt $(PIP_ARGS) dist/*.whl mypy
	tests/system/wheel.sh dist/venv/bin

examples: dist  ## the modules of examples/ from wheels of their own beside the project's: list, counts, training, study, page
	dist/venv/bin/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt $(PIP_ARGS) \
	  examples/simam examples/odconv examples/condconv
	rm -rf dist/studies && mkdir dist/studies && cp examples/*/studies/*-digits.yaml dist/studies
	tests/system/examples.sh dist/venv/bin dist/studies

clean:  ## remove the environment and caches; results stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
