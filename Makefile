# Two commands do all the set-up on a machine with Python >= 3.11, make and a package index:
#   make demo    train three small networks, measure them, write a page
#   make test    run the quick tests
# Choose another interpreter with, say, PYTHON=python3.13.

PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two test processes with one thread each suit two cores.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

.PHONY: demo test slow mutants lint format constraints clean

demo: $(READY)
	$(BIN)/holdfast demo --out holdfast-demo

test: $(READY)
	$(PYTEST) -n 2

slow: $(READY)
	$(PYTEST) -n 2 --slow

# Injects known bugs one at a time: the tests must catch every one.
mutants: $(READY)
	$(BIN)/python tests/mutants.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) tests/test_layers.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Newest versions that the bounds in pyproject.toml allow, written down.
constraints:
	$(PYTHON) -m venv --clear .venv-constraints
	.venv-constraints/bin/python -m pip install -q '.[dev,judges]'
	(echo '# Exact versions that this project is developed and tested with; names and versions only.'; \
	 echo '# Made by: make constraints'; \
	 .venv-constraints/bin/python -m pip freeze --exclude holdfast) > constraints.txt
	rm -r .venv-constraints

$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "holdfast needs Python 3.11 or newer; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.13"; exit 2; }
	@echo 'setting up $(VENV): torch and what it needs, about two minutes'
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,judges]'
	@touch $(READY)

clean:
	rm -rf .venv .venv-* build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache holdfast-demo
