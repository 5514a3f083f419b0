# make demo and make test do all their own set-up on a machine that has Python with venv, make and a C compiler.
PYTHON ?= python3
BIN := .venv/bin
TORCH ?= torch==2.13.0

.PHONY: setup demo test lint bench clean

setup: .venv/.installed

.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

.venv/.test-installed: .venv/.installed
	$(BIN)/python -m pip install --quiet $(TORCH) --editable '.[demo,torch,test,lint]'
	$(BIN)/python -m pip install --quiet --no-deps basic-pitch==0.4.0
	touch $@

test: setup .venv/.test-installed
	$(BIN)/python -m pytest -n auto

lint: setup .venv/.test-installed
	$(BIN)/ruff check src tests examples bench
	$(BIN)/ruff format --check src tests examples bench
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv out
