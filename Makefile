# Needs Python 3.11 or later and make; everything else goes to .venv and .cache.
#   PYTHON=python3.12   the Python to make .venv with (default: the newest that works)
#   ARGS='...'          more arguments for the command behind `run` and `test`

PYTHON ?=
ARGS ?=
IMAGE ?= predictor:dev
IMAGE_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
export PYTHON VENV
# ONNX Runtime would report usage to its maker.
export ORT_DISABLE_TELEMETRY ?= 1

.DEFAULT_GOAL := help
.NOTPARALLEL: # targets share .venv, also under `make -j`
.PHONY: help run test lint lock train image collector bench

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: venv-runtime ## Start the server on http://127.0.0.1:8000; PREDICTOR_PORT=8080 make run for another port
	@exec $(BIN)/predictor $(ARGS)

test: venv-dev ## Run the tests with branch coverage; ARGS='-k outbox' runs a part, without coverage
	$(BIN)/python -m pytest $(if $(strip $(ARGS)),$(ARGS),--cov)

lint: venv-dev ## Check style, format, types, spelling and the tests' docstrings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/interrogate tests

lock: venv-lock ## Write requirements/*.txt anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@scripts/lock $(ARGS)

train: venv-train ## Train the iris model again and write its files in models/iris
	$(BIN)/python models/iris/train.py

image: ## Build the container image IMAGE (predictor:dev) with docker, podman or buildah
	@scripts/image "$(IMAGE)" $(IMAGE_ARGS)

collector: ## Build the OpenTelemetry Collector of otel/builder.yaml with Go, as .cache/collector/otelcol
	@scripts/collector

venv-%:
	@scripts/venv $*

bench: venv-dev ## Measure beside a bare aiohttp handler, for docs/benchmarks.md; ARGS='--rounds 4' is shorter
	$(BIN)/python bench/run.py --write docs/benchmarks.md $(ARGS)
