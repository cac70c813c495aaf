# make study      run the digits study and write its report (start here)
# make test       run the tests
# make test-fast  run the quick ones
# make docs       build the documentation site in site/
# make lint       check style, formatting and types
# Each sets up .venv first, and again only when pyproject.toml or constraints.txt has changed.

STUDY := studies/digits
VENV := .venv
INSTALLED := $(VENV)/installed

.PHONY: study test test-fast docs lint

study: $(INSTALLED)
	$(VENV)/bin/topo study run examples/digits.yaml --into $(STUDY)
	$(VENV)/bin/topo report $(STUDY)

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)

test-fast: $(INSTALLED)
	$(VENV)/bin/python -m pytest tests -m "not slow" -n 2 --dist worksteal $(PYTEST_OPTIONS)

docs: $(VENV)/installed-docs
	rm -rf docs/generated site
	$(VENV)/bin/sphinx-build -W --keep-going -q -j 2 -b html docs site
	@echo "The documentation is in site/index.html"

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The newest Python that is new enough and can make a virtual environment; PYTHON=... on the command line chooses.
$(INSTALLED): pyproject.toml constraints.txt
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Setting up $(VENV) with $$($$python --version)"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "topo needs Python 3.11 or newer with the venv module, and found none (python3 is" \
	  "$$(python3 --version 2>&1)); install one, or name it: make PYTHON=/path/to/python" >&2; \
	exit 1
	@echo "Installing topo and the dependencies pinned in constraints.txt (a minute or more)"
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/installed-docs: $(INSTALLED)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
