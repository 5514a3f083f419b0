# make demo and make test do all their own set-up on a machine that has Python with venv, make and a C compiler.
PYTHON ?= python3
BIN := .venv/bin
TORCH ?= torch==2.13.0
# The package carries a Core ML model; what it depends on (TensorFlow) is not needed to run it here.
BASIC_PITCH := basic-pitch==0.4.0
# Its compiled half, which needs CUDA, is not used.
TORCHVISION := torchvision==0.28.0
CHECKED := src tests examples bench conformance

.PHONY: setup demo test conformance lint bench bench-load bench-latency bench-trace bench-report clean

setup: .venv/.installed

.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.demo-installed: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	$(BIN)/python -m pip install --quiet --no-deps $(BASIC_PITCH)
	touch $@

demo: setup .venv/.demo-installed
	$(BIN)/python examples/transcribe.py

.venv/.test-installed: .venv/.installed
	$(BIN)/python -m pip install --quiet $(TORCH) --editable '.[demo,torch,mnn,otel,test,conformance,lint]'
	$(BIN)/python -m pip install --quiet --no-deps $(BASIC_PITCH) $(TORCHVISION)
	touch $@

test: setup .venv/.test-installed
	$(BIN)/python -m pytest -n auto --dist worksteal
	$(BIN)/python -m conformance --cases 1 --total 60 --fresh

# Two cases of each of coremltools' own tests; `python -m conformance --help` tells how to run more.
conformance: setup .venv/.test-installed
	$(BIN)/python -m conformance

lint: setup .venv/.test-installed
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-load: setup .venv/.test-installed
	$(BIN)/python bench/load.py

bench-latency: setup .venv/.test-installed
	$(BIN)/python bench/latency.py

bench-trace: setup .venv/.test-installed
	$(BIN)/python bench/trace_cost.py

bench-report: setup .venv/.test-installed
	$(BIN)/python bench/report_agreement.py

bench: setup .venv/.test-installed
	$(BIN)/python bench/import_time.py
	$(BIN)/python bench/predict_overhead.py
	$(BIN)/python bench/threads.py
	$(BIN)/python bench/quantized_activations.py
	$(BIN)/python bench/partition.py
	$(BIN)/python bench/passes.py

clean:
	rm -rf .venv out
