# Everything sets itself up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
# Tests at a time; each takes one core, and some wait for processes that they have started.
JOBS ?= 4
BIN := $(VENV)/bin
# One pinned build, so that a machine without a GPU need not fetch the CUDA packages where a CPU
# build is to be had; `make demo TORCH=torch` takes the newest.
TORCH ?= torch==2.13.0

.PHONY: demo test lint types layers docs unit thorough lowest bench clean

demo: $(VENV)/.demo
	$(BIN)/ablate run studies/dit_conditioning.yaml

test: lint types layers docs unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

layers: $(VENV)/.test
	$(BIN)/lint-imports

# The documentation site, into build/site. Strict: a link that leads nowhere is an error (not with --quiet, which would
# hide it).
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

unit: $(VENV)/.test
	$(BIN)/pytest -n $(JOBS) --dist worksteal --durations 12

# With the tests that repeat in another way what a quicker one guards: half an hour on two cores.
thorough: lint types layers docs
	$(BIN)/pytest -n $(JOBS) --dist worksteal --durations 12 --thorough

# The tests with the lowest versions that pyproject.toml allows, which uv finds, in an environment of their own. It brings
# torch's CUDA build. Libraries of then warn of what today's deprecate.
lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install -q uv
	$(VENV)-lowest/bin/uv pip install -q --python $(VENV)-lowest/bin/python --resolution lowest-direct -e ".[ray,mnist]" \
	    "pytest==8.3.*" "pytest-xdist==3.6.*" "pytest-timeout==2.3.*" "hypothesis==6.136.*" "jsonschema==4.21.*" \
	    "datasets==3.3.*" "diffusers==0.31.*" "transformers==4.45.*" "optuna-dashboard==0.17.*" "scikit-learn==1.5.*" "build==1.2.*" "setuptools==77.*"
	$(VENV)-lowest/bin/pytest -n $(JOBS) -W ignore::DeprecationWarning --deselect tests/test_site.py

bench: $(VENV)/.test
	$(BIN)/python benchmarks/engine.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q "$(TORCH)"

$(VENV)/.demo: pyproject.toml $(VENV)/bin/python
	$(BIN)/pip install -q -e ".[ray,mnist]"
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/bin/python
	$(BIN)/pip install -q -e ".[ray,mnist,dev]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
