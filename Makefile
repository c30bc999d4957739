# Two commands matter on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup bench bench-quick bench-scale profile demo flights flights-rules churn test test-monitoring dashboard-preview dashboard-schema test-faults test-chart test-driver test-cluster check format lock tools servers docs image sbom clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The examples run in their own folder, so that their configs hold no absolute path.
BATCHSCORE := ../../$(BIN)/batchscore
FRIDAYS := 2013-01-04 2013-01-11 2013-01-18 2013-01-25 2013-02-01
STORM := 2013-02-08
PYTEST_ARGS ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv (first step of every other target)
	@echo "the environment in $(VENV) is ready: $(BIN)/batchscore --help"

$(READY): requirements/build.txt requirements/dev.txt pyproject.toml scripts/setup.sh hatch_build.py $(wildcard src/batchscore/kernel/*.[ch])
	@scripts/step.sh "setting up" scripts/setup.sh
	@touch $@

demo: flights ## build the flights example, score five Fridays and then the storm, show what came out
	@cd build/flights && for day in $(FRIDAYS) $(STORM); do \
		../../scripts/step.sh "score $$day" $(BATCHSCORE) run -q --config config/flights.yaml --date $$day >/dev/null || exit; \
	done
	@cd build/flights && $(BATCHSCORE) show --config config/flights.yaml --date $(STORM)
	@echo
	@echo "What to type next:"
	@echo "  cd build/flights"
	@echo "  $(BATCHSCORE) verify --config config/flights.yaml --date $(STORM)    # what was published is what lies there"
	@echo "  $(BATCHSCORE) replay --config config/flights.yaml --date $(STORM)    # scored again, the same comes out"
	@echo "  $(BATCHSCORE) diff --config config/flights.yaml 2013-02-01 $(STORM)  # a normal Friday and the storm"
	@echo "  $(BATCHSCORE) plan --config config/flights.yaml --date 2013-02-09    # the next day, before it is scored"

flights: $(READY) ## build the flights example in build/flights, without running it
	@scripts/step.sh "building the flights example" $(BIN)/python -m examples.flights

flights-rules: flights ## run the flights with a skops twin, calibration, rules, quarantine and gates; writes docs/flights-rules.md
	@scripts/step.sh "flights with rules" $(BIN)/python -m examples.flights.showcase

churn: $(READY) ## build the churn example in build/churn and score its 128,734 customers
	@scripts/step.sh "building the churn example" $(BIN)/python -m examples.churn
	@cd build/churn && ../../scripts/step.sh "score 2026-02-08" $(BATCHSCORE) run -q --config config/churn.yaml --date 2026-02-08 >/dev/null
	@cd build/churn && $(BATCHSCORE) show --config config/churn.yaml --date 2026-02-08

test: $(READY) ## run the tests; what needs a tool that this machine lacks is skipped and named
	@scripts/step.sh "tests" $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

test-monitoring: $(READY) ## alert rules, their mutants, dashboards and simulated history on real servers (minutes)
	@scripts/step.sh "monitoring tests" $(BIN)/python -m pytest -n 2 --dist loadgroup -m monitoring tests/monitoring $(PYTEST_ARGS)

dashboard-preview: $(READY) ## draw both dashboards with Grafana's panel components into docs/pictures (npm, prometheus, chromium)
	@scripts/step.sh "drawing the dashboards" $(BIN)/python -m tools.preview

dashboard-schema: $(READY) ## make the schema that the dashboards are tested against anew, from Grafana's own types (npm)
	@scripts/step.sh "schema of a dashboard" $(BIN)/python -m tools.grafana

test-chart: $(READY) tools ## the chart: rendered, refused, validated (seconds; part of make test)
	@scripts/step.sh "tests of the chart" $(BIN)/python -m pytest tests/chart $(PYTEST_ARGS)

test-driver: $(READY) ## the driver against a scripted API server (part of make test); writes docs/kubernetes-failures.md
	@scripts/step.sh "tests of the driver" $(BIN)/python -m pytest -n 2 --dist worksteal -p failures tests/driver $(PYTEST_ARGS)

# Needs root and Go; all else is fetched or built by tests/cluster/*.sh and kept in the user's cache folder.
CLUSTER_TESTS ?= tests/cluster
test-cluster: $(READY) ## a whole Kubernetes on two nodes, and all that may happen to a run (½ hour); writes docs/kubernetes-run.md
	@scripts/step.sh "tests on a real node" env PYTHONPATH=tests/cluster BATCHSCORE_TESTS_REQUIRE_ALL=1 BATCHSCORE_CLUSTER_PAGE=1 \
		$(BIN)/python -m pytest -s -p no:randomly -p timeline $(CLUSTER_TESTS) $(PYTEST_ARGS)

# BENCH: cases by name (make bench BENCH="logreg-1m hgb-1m"; the default is all but the long ones: logreg-4m, rows-10m and
# rows-50m). ROWS is for trying out: its tables go to build/bench/performance.md.
ROUNDS ?= 5
BENCH ?=
BENCH_ARGS ?=
bench: $(READY) ## against the hand-written loop and the peers (20 minutes; BENCH=, ROUNDS=, ROWS=); writes docs/performance.md
	@scripts/step.sh "benchmarks" $(BIN)/python -m benchmarks $(BENCH) --rounds $(ROUNDS) $(if $(ROWS),--rows $(ROWS)) $(BENCH_ARGS)

# BASE is an image where it is not given: see `image`.
EARLIER = $(if $(filter command%,$(origin BASE)),$(BASE),HEAD~1)
bench-quick: $(READY) ## this tree against the previous commit (BASE=…), within 3 minutes; fails when other bytes are published
	@scripts/step.sh "this tree against $(EARLIER)" $(BIN)/python -m benchmarks.quick --base $(EARLIER)

bench-scale: $(READY) ## plan, hand out and gather 100,000 files and partitions: seconds and memory, flat or not (minutes)
	@scripts/step.sh "scale" $(BIN)/python -m benchmarks.scale

PROFILE ?= logreg-4m
profile: $(READY) ## where the time of a run goes, by stage and by import (PROFILE=logreg-1m, ROWS=)
	@$(BIN)/python -m benchmarks.stages $(PROFILE) $(if $(ROWS),--rows $(ROWS))

# The quick selections run too, for the broken twins among them; the page is written whatever the outcome.
FAULT_TESTS := tests/faults $(patsubst %,tests/pipeline/test_%.py,address determinism resume signals two_drivers)
test-faults: $(READY) ## the whole of the fault tests (up to an hour); writes docs/reliability.md
	@scripts/step.sh "fault tests" $(BIN)/python -m pytest -n 2 --dist worksteal -p reliability -m "faults or not faults" \
		$(FAULT_TESTS) $(PYTEST_ARGS)

tools: ## put helm and kubectl into .tools/bin, for the tests of the chart
	@scripts/step.sh "helm and kubectl" scripts/tools.sh

servers: $(READY) ## build MinIO (needs Go) and install Azurite (needs npm): real object stores for the tests
	@scripts/step.sh "MinIO and Azurite" $(BIN)/python tests/faults/object_servers.py

check: $(READY) ## lint, format, types, import contracts
	@scripts/step.sh "lint" $(BIN)/ruff check .
	@scripts/step.sh "format" $(BIN)/ruff format --check .
	@scripts/step.sh "types" $(BIN)/mypy
	@scripts/step.sh "import contracts" $(BIN)/lint-imports

docs: $(READY) ## write what is generated from the code: exit codes, commands, metrics, the config's reference and schema, the chart's
	@scripts/step.sh "generated pages" $(BIN)/python -m tools.docs
	@scripts/step.sh "generated parts of the chart" $(BIN)/python scripts/chart.py

# BASE is an image with Python 3.11; BUILDAH_OPTIONS is for what your network needs, such as --network host or a mounted CA.
BASE ?= docker.io/library/python:3.11-slim-bookworm
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/batchscore/__init__.py)
BUILD = buildah bud $(BUILDAH_OPTIONS) --layers --timestamp 0 --build-arg BASE=$(BASE) --build-arg VERSION=$(VERSION) \
	--build-arg REVISION=$(shell git rev-parse HEAD) -f docker/Dockerfile
image: ## build the image batchscore:VERSION with buildah (BASE=…)
	@scripts/step.sh "image batchscore:$(VERSION)" $(BUILD) -t batchscore:$(VERSION) .

sbom: ## write the image's bill of materials (CycloneDX) into build/sbom (BASE=…)
	@mkdir -p build/sbom
	@scripts/step.sh "build/sbom/sbom.cdx.json" $(BUILD) --target sbom --output type=local,dest=build/sbom .

format: $(READY) ## format the code and mend what lint can mend
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

# One resolution decides all versions (dev.txt); the others are parts of it. The files name no address: the registry
# is the one that this machine is set up for, and the hashes say whether it gave the right bytes.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate
# What decides bits and speed is the same for batchscore and its peers; what else a peer needs is its own affair.
SHARED := dask|distributed|joblib|numpy|pandas|polars|pyarrow|scikit-learn|scipy
lock: $(READY) ## compile requirements/*.txt anew from pyproject.toml (UPGRADE=--upgrade takes newer versions)
	@scripts/step.sh "requirements/dev.txt" $(COMPILE) $(UPGRADE) --all-extras --group dev pyproject.toml -o requirements/dev.txt
	@scripts/step.sh "requirements/runtime.txt" $(COMPILE) $(UPGRADE) -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt
	@scripts/step.sh "requirements/build.txt" $(COMPILE) $(UPGRADE) -c requirements/dev.txt --group pyproject.toml:build -o requirements/build.txt
	@scripts/step.sh "requirements/compiler.txt" $(COMPILE) $(UPGRADE) --group pyproject.toml:compiler -o requirements/compiler.txt

	@mkdir -p build/bench
	@grep -E '^($(SHARED))==' requirements/dev.txt | sed 's/ \\$$//' > build/bench/shared.txt
	@scripts/step.sh "requirements/bench.txt" $(COMPILE) $(UPGRADE) -c build/bench/shared.txt --group pyproject.toml:bench -o requirements/bench.txt

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
