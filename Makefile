# The whole of varistar from a fresh clone: `make repro` and `make test` need Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV := .venv
HOST ?= 127.0.0.1
BIN := $(CURDIR)/$(VENV)/bin
INSTALLED := $(VENV)/.installed
export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install repro study test lint smoke ui pull push status real-data benchmark soak clean

help: ## list what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## create the environment from requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

repro: $(INSTALLED) ## rebuild everything from the embedded survey, promote if the gates pass, predict, print the results
	dvc pull --quiet data.dvc $(wildcard models.dvc)
	dvc repro compare illustrate flares/dvc.yaml:compare
	varistar promote periods --if-better
	varistar promote flares --if-better
	dvc repro completeness flares/dvc.yaml:flare_science
	@varistar report

study: $(INSTALLED) ## train the other rows of Table 3, the ablations and the flares' replica; two hours at size `study`
	dvc pull --quiet data.dvc $(wildcard models.dvc)
	dvc repro compare study/dvc.yaml flares/dvc.yaml:compare flares/study/dvc.yaml
	cp -R metrics/periods/. metrics/study
	mkdir -p metrics/study/flares && cp -R metrics/flares/. metrics/study/flares
	dvc repro --single-item --force compare flares/dvc.yaml:compare
	python -m varistar.periods.study
	python -m varistar.flares.folds

test: lint ## install, lint, run the tests
	dvc pull --quiet data.dvc $(wildcard models.dvc)
	python -m pytest -n auto

lint: $(INSTALLED) ## ruff and mypy
	ruff check src tests benchmarks
	ruff format --check src tests benchmarks
	mypy

smoke: $(INSTALLED) ## run the whole pipeline at smoke size in a scratch clone
	bash tests/smoke.sh

ui: $(INSTALLED) ## serve the MLflow UI on the runs
	@echo "open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --host $(HOST) --port 5000 \
		--backend-store-uri sqlite:///$(CURDIR)/mlruns/mlflow.db

pull: $(INSTALLED) ## fetch data, champion and catalog from the in-repo store
	dvc pull --quiet --allow-missing
	@find build -type d -empty -delete # of what the store lacks DVC leaves empty folders, which read as changed
	varistar champion periods
	varistar champion flares

push: $(INSTALLED) ## store data, champion and catalog in the in-repo store
	dvc push

status: $(INSTALLED) ## say whether data, pipeline and champion are in order
	@varistar status

real-data: $(INSTALLED) ## networks on real light curves of ASAS-SN, ZTF and TESS; docs/real-data.md and real-flares.md
	python benchmarks/real_periods.py
	python benchmarks/real_flares.py

benchmark: $(INSTALLED) ## kernels against the published loops, the whole chain, training; about ten minutes
	python benchmarks/transform.py
	python benchmarks/spots.py
	python benchmarks/training.py
	dvc repro --quiet templates
	python benchmarks/chain.py

soak: $(INSTALLED) ## kill predictions at random moments, on every engine; about twenty minutes
	python tests/soak.py

clean: ## remove results, trials and runs; data, models and the environment stay
	rm -rf build .cache mlruns/*
