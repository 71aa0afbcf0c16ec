# make demo, make test, make check, make faults: each makes .venv with all it needs, once, and again when pyproject.toml or what
# is compiled changes.
# A certain Python: make test PYTHON=/path/to/python3.12

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check faults

demo: $(STAMP)
	$(BIN)/panet demo --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Every fault that a run must survive, three times each; make faults ARGS="--only K05 --seeds 1" for some of them.
faults: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m faults $(ARGS)

$(STAMP): pyproject.toml $(wildcard src/panet/ops/kernels/*)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  for python in $(or $(PYTHON),python3.11 python3 python3.12 python3.13); do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      echo "making $(VENV) with $$($$python --version)"; \
	      exec $$python -m venv --clear $(VENV); \
	    fi; \
	  done; \
	  echo "Python 3.11 or newer, with its venv module, is needed but was not found" >&2; \
	  echo "(looked for: $(or $(PYTHON),python3.11 python3 python3.12 python3.13)); name one: make PYTHON=/path/to/python" >&2; \
	  exit 1; \
	}
	@echo "installing panet and what it needs into $(VENV): minutes, the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $(STAMP)
