# `make help` lists the targets. `make run` and `make test` each do all their own set-up.

PYTHON ?= python3
RUN  := .venv
TEST := .cache/test
LOCK := .cache/lock
LLM  := .cache/llm
# pip comes with the repository, as ensurepip would bring it: many a Debian has neither.
PIP  := requirements/pip-26.3-py3-none-any.whl
UV   := uv==0.13.8

ARGS ?=
SUITES := $(wildcard tests/unit tests/wire tests/faults tests/fuzz tests/docs)
PYTEST := $(TEST)/bin/python -m pytest
COVERAGE := $(TEST)/bin/python -m coverage
CHECKED := proxy cache limits tests $(wildcard bench)

# $(call install,ENVIRONMENT,ARGUMENTS)
install = "$$(cat .cache/python)" $(PIP)/pip --python $(1) install \
  --quiet --disable-pip-version-check --no-input --no-warn-script-location $(2)

# $(call environment,ENVIRONMENT,REQUIREMENTS): a fresh one, every file checked against its hash
define environment
	@echo "Installing $(2) into $(1)"
	@rm -rf $(1)
	@"$$(cat .cache/python)" -m venv --without-pip $(1) \
	  || { rm -rf $(1); echo "askonce: $$(cat .cache/python) has no venv module; set PYTHON to one that has" >&2; exit 1; }
	@$(call install,$(1),--require-hashes -r $(2))
	@$(call install,$(1),--no-deps --build-constraint requirements/build.txt -e .)
	@touch $@
endef

.PHONY: help run test lint types architecture alone suites unit wire faults fuzz docs lock demo bench chaos llm clean FORCE

help:  ## this list
	@sed -n 's/^\([a-z ]*\):.*## /\1\t/p' Makefile | expand -t 30

run: $(RUN)/.installed  ## set up and serve on 127.0.0.1:8080; ARGS="--config FILE"
	@exec $(RUN)/bin/askonce serve $(ARGS)

demo: $(RUN)/.installed  ## set up and serve in front of a built-in upstream, with lines to try
	@exec $(RUN)/bin/askonce demo $(ARGS)

test: lint types architecture suites  ## set up and check everything

lint: $(TEST)/.installed  ## ruff: rules and layout
	$(TEST)/bin/ruff check $(CHECKED)
	$(TEST)/bin/ruff format --check $(CHECKED)

types: $(TEST)/.installed  ## mypy --strict
	$(TEST)/bin/mypy $(CHECKED)

architecture: $(TEST)/.installed  ## who may import whom, sizes, the wheel
	$(PYTEST) -q tests/architecture

# Tests that measure time or memory run first, alone and without coverage; none is no failure (5).
alone: $(TEST)/.installed
	$(PYTEST) -q -m alone $(SUITES) || [ $$? -eq 5 ]

suites: alone
	@rm -rf .cache/coverage && mkdir -p .cache/coverage
	$(COVERAGE) run -m pytest -q -n 2 --dist worksteal -m "not alone" $(SUITES)
	@$(COVERAGE) combine --quiet
	$(COVERAGE) report

unit wire faults fuzz docs: $(TEST)/.installed  ## one suite, without coverage
	$(PYTEST) tests/$@ $(ARGS)

bench: $(TEST)/.installed  ## CPU per request and per frame beside nginx and a bare relay
	$(TEST)/bin/python -m bench $(ARGS)

chaos: $(TEST)/.installed  ## streams, mixed load, a storm, an overload, two long runs: about 26 minutes
	$(TEST)/bin/python -m bench.chaos $(ARGS)

llm: $(TEST)/.installed $(LLM)/.installed  ## chat, streams and schemas of a real model on the CPU
	LLM_PYTHON=$(LLM)/bin/python $(PYTEST) -q tests/real $(ARGS)

lock: $(LOCK)/.installed  ## pin every dependency with its hashes; UPGRADE=1 takes the newest
	$(call compile,requirements/build.in -o requirements/build.txt)
	$(call compile,pyproject.toml --extra plot -o requirements/run.txt)
	$(call compile,pyproject.toml --extra dev --extra plot -c requirements/run.txt -o requirements/dev.txt)
	$(call compile,requirements/llm.in --no-deps -o requirements/llm.txt)

compile = $(LOCK)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) $(1)

clean:  ## remove what the other targets made
	rm -rf $(RUN) .cache build dist *.egg-info

$(RUN)/.installed: .cache/python requirements/run.txt requirements/build.txt pyproject.toml $(PIP)
	$(call environment,$(RUN),requirements/run.txt)

$(TEST)/.installed: .cache/python requirements/dev.txt requirements/build.txt pyproject.toml $(PIP)
	$(call environment,$(TEST),requirements/dev.txt)

$(LLM)/.installed: .cache/python requirements/llm.txt $(PIP)
	@rm -rf $(LLM)
	@"$$(cat .cache/python)" -m venv --without-pip $(LLM)
	@$(call install,$(LLM),--require-hashes --no-deps -r requirements/llm.txt)
	@touch $@

$(LOCK)/.installed: .cache/python Makefile
	@rm -rf $(LOCK)
	@"$$(cat .cache/python)" -m venv --without-pip $(LOCK)
	@$(call install,$(LOCK),$(UV))
	@touch $@

# The interpreter behind $(PYTHON), even from inside an environment; touched only when it changes.
.cache/python: FORCE
	@mkdir -p .cache
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "askonce: Python 3.11 or newer is needed; $(PYTHON) is not: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; print(getattr(sys, "_base_executable", "") or sys.executable)' > .cache/python.new
	@cmp -s .cache/python.new .cache/python && rm .cache/python.new || mv .cache/python.new .cache/python
