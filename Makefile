# Every target installs what it needs; `make help` lists them.
SHELL := bash
PYTHON ?= python3
RUN := .venv/bin/python
STACK ?= default
# Tests wait for servers more than they work. A file is one worker's, and the slowest come first.
WORKERS := --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: help install demo test check bench crash stack stack-down lock
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' Makefile | sed -E 's/:.*  ## /\t/' | expand -t 14

install: .venv/installed  ## everything into .venv/, the servers' packages into .cache/
	@$(RUN) -m compose.stack fetch

.venv/installed: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" bash compose/install.sh

demo: .venv/installed  ## see it work: a company lives, its books follow. FOR=20s ends by itself; SEED=7: the same again
	@set -m; $(RUN) -m compose.demo $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED)); exit $$?

test: .venv/installed  ## all tests of a change. T=path: a part, on a stack that is left up
ifdef T
	@LEDGER_STACK=test $(RUN) -m pytest $(T)
else
	@$(RUN) -m pytest $(WORKERS)
endif

crash: .venv/installed  ## every crash point, repeats and pairs, fail-overs: about 20 minutes
	@$(RUN) -m pytest tests/crash

check: .venv/installed  ## formatting, lint, types, tidy rules, generated files fresh
	@.venv/bin/ruff format --check --quiet . || { echo "error: run .venv/bin/ruff format"; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@$(RUN) -m schemas.generate --check
	@$(RUN) -m pytest -q tests/test_tidy.py

bench: .venv/installed  ## the benchmark into bench/results/. ARGS="--only ynab": a part
	@$(RUN) -m bench $(ARGS)

stack: .venv/installed  ## only the servers, in the background. STACK=name: one beside the others
	@$(RUN) -m compose.stack up --name $(STACK)

stack-down:  ## end the servers and delete their data. STACK=name
	@[ ! -x $(RUN) ] || $(RUN) -m compose.stack down --name $(STACK)

COMPILE := .venv/bin/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url

lock: .venv/installed  ## both locks again after a change of the dependencies
	@$(COMPILE) --group dev --group servers --output-file requirements.lock
	@$(COMPILE) --constraints requirements.lock --output-file requirements-runtime.lock
