# MetaMusic. `make app` opens it, `make test` proves it; both do all the set-up they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: app setup test prove lint format requirements browser clean help

help:
	@echo "make app    set up and open MetaMusic"
	@echo "make test   set up and run every test, browser tests included"
	@echo "make prove  the long proofs"
	@echo "make lint   ruff and mypy"
	@echo "make requirements   compile requirements.txt from pyproject.toml again"

setup: $(STAMP)

# Redone only when the pins change. uv is itself one of the pins, so `sync` keeps it.
$(STAMP): requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet "$$(grep -o '^uv==[^ ;]*' requirements.txt)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.txt
	touch $(STAMP)

app: setup
	$(BIN)/python serve.py

test: setup browser
	$(BIN)/python -m pytest

prove: setup browser
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .

# The browser tests need a Chromium: the system's, Debian's where we are root, or Playwright's own.
browser: setup
	@sh .ci/browser $(BIN)

requirements: setup
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
		--custom-compile-command "make requirements" pyproject.toml -o requirements.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
