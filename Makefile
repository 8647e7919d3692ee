# Needs Python 3.11 or later and make; everything else goes to .venv and .cache.
#   PYTHON=python3.12   the Python to make .venv with (default: the newest that works)
#   ARGS='...'          more arguments for the command behind `run` and the tests
#   OVERLAY=gke         what `deploy` and `undeploy` take from kustomize/overlays (default: minikube)

PYTHON ?=
ARGS ?=
IMAGE ?= predictor:dev
IMAGE_ARGS ?=
OVERLAY ?= minikube
VENV := .venv
BIN := $(VENV)/bin
CHECKER := .cache/manifests
SUPPLY := .cache/supply-chain
LOWEST := .cache/lowest
export PYTHON VENV
# ONNX Runtime would report usage to its maker.
export ORT_DISABLE_TELEMETRY ?= 1

.DEFAULT_GOAL := help
.NOTPARALLEL: # targets share .venv, also under `make -j`
.PHONY: help run test lint lock train image images collector kustomize promtool manifests bench chaos promises
.PHONY: dist try-wheel try-image workflows sbom sbom-image provenance audit clients
.PHONY: deploy undeploy port-forward test-lowest test-stack test-compose test-cluster analytics test-analytics test-tutorials

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: venv-runtime ## Start the server on http://127.0.0.1:8000; PREDICTOR_PORT=8080 make run for another port
	@exec $(BIN)/predictor $(ARGS)

test: venv-dev ## Run the tests with branch coverage; ARGS='-k outbox' runs a part, without coverage
	$(BIN)/python -m pytest $(if $(strip $(ARGS)),$(ARGS),--cov)

lint: venv-dev ## Check style, format, types, spelling, prose and the tests' docstrings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m scripts.prose
	$(BIN)/interrogate tests

lock: venv-uv ## Write requirements/*.txt anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@scripts/lock $(ARGS)

train: venv-train ## Train the iris model again and write its files in predictor/demo/iris
	$(BIN)/python models/train_iris.py

image: ## Build the container image IMAGE (predictor:dev) with docker, podman or buildah
	@scripts/image "$(IMAGE)" $(IMAGE_ARGS)

dist: venv-dev ## Build the wheel and the source distribution in dist/
	@scripts/dist

try-wheel: venv-dev ## Install the wheel from the index's packages by pip, uvx and pipx, each in an empty home, and try it; ARGS=uvx is shorter
	@PYTHON=$(or $(PYTHON),$(BIN)/python) scripts/try-wheel $(ARGS)

try-image: ## Run IMAGE as the cluster does, without rights and with a read-only root, and ask it for a prediction
	@scripts/try-image "$(IMAGE)"

sbom: ## Write dist/sbom.cdx.json (CycloneDX): every package of the image with its version and hashes
	@VENV=$(SUPPLY) scripts/venv supply-chain
	@mkdir -p dist
	$(SUPPLY)/bin/cyclonedx-py requirements requirements/runtime.txt --pyproject pyproject.toml --sv 1.6 \
	  --output-reproducible --validate --of JSON -o dist/sbom.cdx.json

sbom-image: ## Write dist/sbom-image.cdx.json (CycloneDX): the Debian packages of IMAGE, which must be built
	@mkdir -p dist
	@scripts/image-packages "$(IMAGE)" | python3 scripts/image_packages.py "$(IMAGE)" >dist/sbom-image.cdx.json

provenance: ## Write dist/provenance.json (SLSA 1): of which sources and which base IMAGE_ARGS say that the image is made
	@mkdir -p dist
	@python3 scripts/provenance.py $(IMAGE_ARGS) >dist/provenance.json

audit: ## Ask after known weaknesses of the image's packages; skipped, with a word, where the data cannot be reached
	@VENV=$(SUPPLY) scripts/venv supply-chain
	@scripts/audit $(SUPPLY)/bin/pip-audit

images: image ## Build the image and load it into minikube or kind, if one of them is the current kubectl context
	@scripts/load-image "$(IMAGE)"

deploy: ## Apply kustomize/overlays/OVERLAY (minikube) to the current kubectl context and wait until everything runs
	@scripts/deploy "$(OVERLAY)"

undeploy: ## Remove all that OVERLAY made, the volumes with the records included
	@scripts/undeploy "$(OVERLAY)"

port-forward: ## Bring the cluster's API to 127.0.0.1:8000 and Grafana to 127.0.0.1:3000, until Ctrl-C
	@exec scripts/port-forward

manifests: kustomize ## Hold every overlay and combination of components to strict schemas, the overlays to checkov too
	@VENV=$(CHECKER) scripts/venv manifests
	@PYTHONDONTWRITEBYTECODE=1 $(CHECKER)/bin/python -m scripts.manifests

test-lowest: ## Run the tests with the lowest versions that pyproject.toml allows, in .cache/lowest; ARGS='-k http' runs a part
	@VENV=$(LOWEST) scripts/venv lowest
	$(LOWEST)/bin/python -m pytest $(ARGS)

test-stack: venv-dev collector kustomize ## Run the tests with a real Collector and a real Loki (LOKI=/path/to/loki, or docker); ARGS='-k outage' runs a part
	REQUIRE_PROGRAMS=1 $(BIN)/python -m pytest tests/stack $(ARGS)

test-compose: venv-dev ## Run the tests that start compose.yaml with docker or podman; LOKI=, TEMPO= and `make collector` stand for images that cannot be had
	$(BIN)/python -m pytest tests/compose $(ARGS)

test-cluster: venv-dev ## Run the tests against the cluster of the current kubectl context, where OVERLAY is deployed
	$(BIN)/python -m pytest tests/cluster $(ARGS)

analytics: ## Fill environments with duckdb, polars, Spark, a notebook, Evidently, NannyML and moto, for tests/analytics and tests/tutorials
	@PYTHON=$(or $(PYTHON),python3) scripts/analytics

test-analytics: venv-dev analytics ## Run the tests with what reads exports; ARGS='-k spark' runs a part
	REQUIRE_PROGRAMS=analytics $(BIN)/python -m pytest tests/analytics $(ARGS)

test-tutorials: venv-dev ## Run each block of docs/tutorials; TUTORIALS=install also runs their pip commands, in an empty environment
	@PYTHON=$(or $(PYTHON),python3) scripts/analytics tutorials
	REQUIRE_PROGRAMS=analytics $(BIN)/python -m pytest tests/tutorials $(ARGS)

collector: ## Build the OpenTelemetry Collector of otel/builder.yaml with Go, as .cache/collector/otelcol; ten minutes the first time
	@scripts/collector

workflows: ## Judge the forge's workflows by actionlint (built with Go, as .cache/bin/actionlint) and zizmor
	@scripts/actionlint
	@VENV=$(SUPPLY) scripts/venv supply-chain
	.cache/bin/actionlint
	$(SUPPLY)/bin/zizmor --quiet --offline .github

kustomize: ## Build kustomize with Go, as .cache/bin/kustomize
	@scripts/kustomize

promtool: ## Build Prometheus's promtool with Go, as .cache/bin/promtool, which tries the alert rules
	@scripts/promtool

clients: venv-dev ## Install the clients of Triton, KServe and the Open Inference Protocol that tests/clients runs, and what tries the OpenAPI document, in .cache/clients
	@PYTHON=$(BIN)/python scripts/clients

venv-%:
	@scripts/venv $*

bench: venv-dev ## Measure beside bare aiohttp and other servers, for docs/benchmarks.md; ARGS='--parts alone' is shorter
	$(BIN)/python -m bench --write $(ARGS)

chaos: venv-dev collector ## Break everything under load and compare callers and sink; ARGS='--kills 100 --seed 7' is longer
	$(BIN)/python -m chaos $(ARGS)

promises: venv-dev ## Write docs/promises.md from the last results of chaos, tests and bench; make test ARGS='--result NAME' keeps one of tests
	$(BIN)/python -m scripts.promises
