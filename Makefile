# One virtual environment in .venv, made at the first call and again when the lock has changed.

ARGS    ?=
WORKERS ?= 4
PYTHON  ?= python3

BIN   := .venv/bin
STAMP := .venv/.ready

OLD_BIN := .venv-oldest/bin
OLDEST  := .venv-oldest/.ready

# Who names a PYTHON gets that one. Else python3, or the newest beside it if that is too old.
OTHERS     := python3.15 python3.14 python3.13 python3.12 python3.11
CANDIDATES := $(PYTHON) $(if $(filter file,$(origin PYTHON)),$(OTHERS))

define FIND_PYTHON
	for python in $(CANDIDATES); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "shedder needs Python 3.11 or newer: install one, or call make PYTHON=/path/to/python3." >&2; \
	    exit 1; \
	fi
endef

# Without isolation the project is built by the locked hatchling, and nothing more is fetched.
define SET_UP
	$(FIND_PYTHON); \
	echo "Setting up .venv, once ..." >&2; \
	rm -rf .venv; \
	if command -v uv >/dev/null 2>&1; then \
	    uv venv --quiet --python "$$(command -v "$$python")" .venv && \
	    uv pip install --quiet --python $(BIN)/python -r requirements-dev.lock && \
	    uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
	    "$$python" -m venv .venv && \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.lock && \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
endef

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 13

.PHONY: demo
demo: $(STAMP) ## an incident on a private server, step by step (ARGS: options of `shedder demo`)
	@$(BIN)/shedder demo $(ARGS)

# What is compiled once is read by each process that a test starts, also where nothing is to be written.
test test-all: export PYTHONDONTWRITEBYTECODE :=

.PHONY: test
test: $(STAMP) ## all tests but those that are long by nature (ARGS: what pytest takes; WORKERS: processes)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(ARGS)

.PHONY: test-all
test-all: $(STAMP) ## the long ones too, as before a release (ARGS, WORKERS)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m "long or not long" $(ARGS)

.PHONY: test-hostile
test-hostile: $(STAMP) ## all tests on a busy machine, one that stands still, ... (ARGS: conditions, -- what pytest takes)
	@$(BIN)/python -m tests.hostile $(ARGS)

# What needs other packages than we depend on (hosts, docs, the bench) is left to `make test`.
.PHONY: test-oldest
test-oldest: $(OLDEST) ## tests with the oldest versions of what we depend on (ARGS, WORKERS)
	@$(OLD_BIN)/python -m pytest -n $(WORKERS) --dist loadscope -p no:cacheprovider \
	    $(or $(ARGS),tests/unit tests/scripts tests/cli tests/rq tests/features)

.PHONY: package
package: $(STAMP) ## wheel and sdist, into dist; what pip says of wheels for each Python (needs PyPI)
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	@$(BIN)/python -m tests.packaging.wheels dist/*.whl

.PHONY: check
check: $(STAMP) ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: docs
docs: $(STAMP) ## the pages, into build/docs; a warning is an error
	@for page in scripts cli events policy metrics; do $(BIN)/python docs/generate_$${page}_page.py || exit; done
	@$(BIN)/python docs/generate_dashboard.py
	@$(BIN)/mkdocs build --quiet --strict

.PHONY: bench
bench: $(STAMP) ## benchmarks (ARGS: which ones)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: faults
faults: $(STAMP) ## kill processes at random for as long as you like (ARGS: options)
	@$(BIN)/python -m tests.faults $(ARGS)

.PHONY: lock
lock: ## renew requirements-dev.lock with the newest releases
	@$(FIND_PYTHON); \
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	"$$python" -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install -qq --disable-pip-version-check '.[dev]' && \
	{ sed '/^[^#]/,$$d' requirements-dev.lock; \
	  "$$folder/bin/python" -m pip freeze --exclude shedder; } > "$$folder/lock" && \
	cp "$$folder/lock" requirements-dev.lock

.PHONY: clean
clean: ## remove everything that was made here
	@rm -rf .venv .venv-oldest build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements-dev.lock pyproject.toml
	@$(SET_UP)
	@touch $@

$(OLDEST): pyproject.toml tests/oldest.py
	@$(FIND_PYTHON); \
	echo "Setting up .venv-oldest, once ..." >&2; \
	rm -rf .venv-oldest; \
	"$$python" -m venv .venv-oldest && \
	$(OLD_BIN)/python -m pip install -qq --disable-pip-version-check \
	    $$("$$python" tests/oldest.py) gevent hatchling hypothesis jsonschema pytest pytest-xdist sybil && \
	$(OLD_BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
