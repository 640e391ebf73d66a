PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install lint test docs demo smoke clean

help:
	@echo "make demo     environment, synthetic data, training, evaluation, the report in demo/run"
	@echo "make smoke    the same in a minute, its numbers are meaningless"
	@echo "make test     environment, linters, type check, all tests"
	@echo "make docs     docs/configuration.md from the settings"
	@echo "make clean    remove the environment and the demo"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing about 7 GB of packages into $(VENV): minutes, by the network; pip names each"
	$(BIN)/pip install --constraint constraints.txt --editable ".[dev]"
	@echo "compiling the clustering, once"
	$(BIN)/ecul bench cluster --sizes 500 --dim 16 --no-floor > /dev/null
	touch $(STAMP)

install: $(STAMP)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest --ignore tests/with_ray --numprocesses auto --maxprocesses 8 --dist loadfile
	$(BIN)/pytest tests/with_ray

docs: install
	$(BIN)/python docs/configuration.py

demo/data: | install
	$(BIN)/ecul synth --layout sysu --identities 100 --size 64x32 --seed 0 --out demo/data

demo: install demo/data
	$(BIN)/ecul doctor demo/data
	rm -rf demo/run
	$(BIN)/ecul train --config configs/synthetic.yaml --out demo/run
	@echo "open demo/run/report.html"

demo/smoke-data: | install
	$(BIN)/ecul synth --layout sysu --identities 20 --test-identities 10 --size 64x32 --seed 0 --out demo/smoke-data

smoke: install demo/smoke-data
	rm -rf demo/smoke
	$(BIN)/ecul train --config configs/smoke.yaml --out demo/smoke

clean:
	rm -rf $(VENV) demo
