# `make demo` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
PACKAGES := core $(wildcard plugins/*)
STAMP := $(VENV)/.installed
DEV := pytest pytest-timeout pytest-xdist hypothesis ruff mypy transformers onnx onnxruntime onnxscript \
	"setuptools>=77,<82" mkdocs-material

.PHONY: demo test install lint docs fresh audit sbom clean

demo: $(STAMP)
	$(VENV)/bin/sslrun --plugin graph --method gcool

test: $(STAMP)  # a worker that dies is named and not replaced: its replacement may wait for ever (pytest-xdist issue 784)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 --dist loadfile --max-worker-restart 0

install: $(STAMP)

$(STAMP): constraints.txt Makefile core/pyproject.toml $(wildcard plugins/*/pyproject.toml)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt $(DEV) $(addprefix --editable ./,$(PACKAGES))
	touch $@

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

docs: $(STAMP)
	$(VENV)/bin/mkdocs build --strict

fresh: $(STAMP)
	$(VENV)/bin/python tests/fresh_install.py

.tools:  # of their own environment: what audits is not part of what is audited
	$(PYTHON) -m venv $@ && $@/bin/python -m pip install --quiet pip-audit cyclonedx-bom

audit: .tools
	grep '==' constraints.txt > .tools/pinned.txt
	.tools/bin/pip-audit --requirement .tools/pinned.txt --no-deps --disable-pip --progress-spinner off

sbom: .tools $(STAMP)
	.tools/bin/cyclonedx-py environment --output-format JSON --output-file sbom.json $(VENV)/bin/python

clean:
	rm -rf $(VENV) build dist
