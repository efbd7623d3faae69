# Everything Haarlequin does, one target each. The machine provides Python 3.11 or newer, g++, make and perl;
# all else is installed into .venv, once, before the first target that needs it.

PYTHON ?= python3
PRESET ?= digits
MODEL ?=
CONFIG ?=
BOARD ?=
FREQ ?=
SEED ?=
PERSIST ?=
MINUTES ?=

STAMP := .venv/installed
RUN := .venv/bin/python -m

# What a user's shell carries must not reach the tools: options meant for this make, another environment's packages,
# another Verilator or cocotb's settings, and what takes the asserts out of the tests.
unexport MAKEFLAGS GNUMAKEFLAGS MFLAGS MAKEFILES $(filter VERILATOR_% COCOTB_%,$(.VARIABLES))
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH PYTHONOPTIMIZE ARGS

# .venv is full of absolute paths: one that was made for another folder counts as none, and a new one is made.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

.PHONY: help sim wave infer noise verilog bitstream flash gatesim lint types check test mutate coverage fuzz hostile
.PHONY: prove docs data train bench area report clean distclean

help:  ## list the targets
	@sed -nE 's/^([a-z]+):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo 'PYTHON=… chooses the interpreter of .venv, ARGS=… adds options to most of them.'

sim: $(STAMP)  ## real images through the real RTL, bit for bit; MODEL=…, CONFIG=… by default the model's own
	$(RUN) haarlequin sim $(if $(MODEL),--model $(MODEL)) $(if $(CONFIG),--config $(CONFIG)) $(ARGS)

wave: $(STAMP)  ## one image as a waveform for Surfer and GTKWave; MODEL=digits, CONFIG=…, ARGS="--image 3"
	$(RUN) haarlequin wave $(if $(MODEL),--model $(MODEL)) $(if $(CONFIG),--config $(CONFIG)) $(ARGS)

infer: $(STAMP)  ## label images: ARGS="photo.jpg …", the model's own test images by default; MODEL=digits
	.venv/bin/python sw/infer.py $(if $(MODEL),--model $(MODEL)) $(ARGS)

noise: $(STAMP)  ## a thousand faults on the link of the real RTL: no wrong logits (minutes)
	$(RUN) haarlequin noise $(ARGS)

verilog: $(STAMP)  ## the accelerator CONFIG=… as plain Verilog
	$(RUN) haarlequin verilog --config $(or $(CONFIG),16x64) $(ARGS)

bitstream: $(STAMP)  ## the bitstream of BOARD=…, one of ARGS=--list; FREQ=MHz, SEED=… (minutes to an hour)
	$(RUN) haarlequin bitstream $(if $(BOARD),--board $(BOARD)) $(if $(FREQ),--freq $(FREQ)) $(if $(SEED),--seed $(SEED)) $(ARGS)

flash: $(STAMP)  ## put it on the board; PERSIST=1 into its flash, ARGS="--tables digits" too; ARGS=--dry-run
	$(RUN) haarlequin flash $(if $(BOARD),--board $(BOARD)) $(if $(PERSIST),--persist) $(ARGS)

gatesim: $(STAMP)  ## the netlist of BOARD=… against the golden model, through its UART pins; MODEL=digits
	$(RUN) haarlequin gatesim $(if $(BOARD),--board $(BOARD)) $(if $(MODEL),--model $(MODEL)) $(ARGS)

lint: $(STAMP)  ## check style and format
	$(RUN) ruff check
	$(RUN) ruff format --check

# The package as it is installed, for mypy, which cannot follow an import name to folders of other names.
types: $(STAMP)  ## check types
	@rm -rf build/types && mkdir -p build/types/haarlequin
	@ln -s $(addprefix $(CURDIR)/,hw models sim sw $(wildcard sw/haarlequin/*)) build/types/haarlequin
	$(RUN) mypy

# One worker per core and one thread per worker: torch would otherwise start as many threads as cores in each of them.
check: lint types  ## lint, types, and the tests that build and train nothing (a minute and a half)
	OMP_NUM_THREADS=1 $(RUN) pytest -n auto --maxprocesses 8 --dist worksteal -m "not slow" $(ARGS)

test: lint types  ## lint, types, then all tests on every core
	OMP_NUM_THREADS=1 $(RUN) pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

mutate: $(STAMP)  ## break the sources in 760 places, one at a time: tests must notice; ARGS="--minutes 30" (hours)
	$(RUN) tests.mutation $(ARGS)

coverage: $(STAMP)  ## corners, statements of the RTL and branches that the tests come to; ARGS=corners (an hour)
	$(RUN) tests.coverage $(ARGS)

fuzz: $(STAMP)  ## random models × machines through all that computes them; MINUTES=10, ARGS=--report
	OMP_NUM_THREADS=1 $(RUN) tests.differential $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

hostile: $(STAMP)  ## damaged files for every reader of a stranger's bytes, ARGS="READER … --minutes 10" (an hour)
	OMP_NUM_THREADS=1 $(RUN) tests.hostile $(ARGS)

prove: $(STAMP)  ## prove what holds of the RTL for all inputs: streams, sums, the receiver, thresholds (minutes)
	$(RUN) tests.formal $(ARGS)

docs: $(STAMP)  ## docs/ as a site, build/site/index.html, with a reference from the docstrings; no network
	.venv/bin/python docs/website.py

data: $(STAMP)  ## fetch CIFAR-10 into data/ and check it, for `make train PRESET=cifar10-nano ARGS="--data data"`
	$(RUN) haarlequin data $(ARGS)

train: $(STAMP)  ## train a model, PRESET=digits by default
	$(RUN) haarlequin train --preset $(PRESET) $(ARGS)

bench: $(STAMP)  ## figures of boards, simulator and this computer, each with its mark; ARGS=--build (minutes)
	$(RUN) haarlequin benchmark $(if $(BOARD),--board $(BOARD)) $(MODEL) $(ARGS)

area: $(STAMP)  ## what the blocks cost on an ECP5; ARGS=--route also routes a slice of four lanes
	$(RUN) haarlequin area $(ARGS)

report: $(STAMP)  ## one page that shows the machine, build/report/index.html; MODEL=…, BOARD=…, ARGS="--data DIR"
	$(RUN) haarlequin report $(if $(MODEL),--model $(MODEL)) $(if $(BOARD),--board $(BOARD)) $(ARGS)

clean:  ## remove what was built, and the caches
	rm -rf build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## also remove .venv
	rm -rf .venv

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo >&2 'Missing: $(PYTHON). On Debian 12 or newer, as root:' \
		'apt-get install python3-venv libpython3-dev g++ make perl'; exit 3; }
	@$(PYTHON) .ci/setup.py
