# make run     set up and turn the wheel once (airflow runs dags/alignment.py); RECIPE=8b-lora trains another model
# make test    set up and run the tests
# make up      start Airflow, MLflow and the chat service; make down stops all of it
# make rollback  put the previous champion back
# make forget USER=…  erase a user everywhere, for good
# make quarantine  show what was turned away at the door; make judge-trial  try the judge on labelled pairs
# make attacks  hold the guardrails to every attack that was ever found
# make gate-proof  put planted candidates before the gate, after make run; make tune  search for better parameters
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

ACCEL ?= cpu
PYTHON ?= python3.11
APPROVE ?= yes
JOBS ?= 1
RECIPE ?=
VENV := .venv
PY := $(VENV)/bin/python

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
export THUMBWHEEL_ACCELERATOR ?= $(ACCEL)

.PHONY: help setup run test fast lint up down rollback forget quarantine judge-trial attacks gate-proof recipe tune requirements

help:
	@sed -n 's/^# //p' Makefile | head -8

setup: $(VENV)/.ready-$(ACCEL)

$(VENV)/.ready-$(ACCEL): requirements/$(ACCEL).txt requirements/overrides.txt requirements/setup.sh pyproject.toml
	@PYTHON=$(PYTHON) bash requirements/setup.sh $(ACCEL) $(VENV)

run: setup
	@$(if $(RECIPE),$(PY) -m stages.recipe $(RECIPE))
	@$(PY) -m thumbwheel.turn --approve $(APPROVE)

test: setup
	@$(PY) -m pytest

fast: setup
	@$(PY) -m pytest -m "not slow"

lint: setup
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

up: setup
	@$(PY) -m thumbwheel.stack up

down: setup
	@$(PY) -m thumbwheel.stack down

rollback: setup
	@$(PY) -m stages.rollback

# USER is also a variable of every shell, which is not who is meant.
forget: setup
	@$(if $(filter command line,$(origin USER)),$(PY) -m stages.forget "$$USER" --yes,echo 'say whom: make forget USER=…'; exit 2)

quarantine: setup
	@$(PY) -m stages.quarantine

judge-trial: setup
	@$(PY) -m benchmarks.judge_trial

recipe: setup
	@$(PY) -m stages.recipe $(RECIPE) --show

tune: setup
	@$(PY) -m stages.tune --jobs $(JOBS)

attacks: setup
	@$(PY) -m benchmarks.attacks

gate-proof: setup
	@$(PY) -m benchmarks.gate_proof

requirements: setup
	@bash requirements/compile.sh
