# `make demo` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
PACKAGES := core $(wildcard plugins/*)
STAMP := $(VENV)/.installed
DEV := pytest pytest-timeout pytest-xdist ruff mypy transformers

.PHONY: demo test install lint results clean

demo: $(STAMP)
	$(VENV)/bin/sslrun --plugin graph --method gcool

test: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 --dist loadfile

install: $(STAMP)

$(STAMP): constraints.txt Makefile core/pyproject.toml $(wildcard plugins/*/pyproject.toml)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt $(DEV) $(addprefix --editable ./,$(PACKAGES))
	touch $@

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist
