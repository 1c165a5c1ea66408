# Everything a checkout needs, from bare Python 3.11: `make dev` runs the service, `make check` judges a change.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ARGS   ?=
DESKTOP := xvfb openbox x11vnc xdotool xinput xterm imagemagick
# Four at a time: most tests wait for processes and servers. tests/schedule.py says which go together, and which first.
# Many race with real processes on a busy machine: one that fails runs once more, and the summary says so. Twice is a failure.
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadgroup --reruns 1

.DEFAULT_GOAL := help
.PHONY: help venv dev migrate test check fix bench bench-compare bench-costs bench-prompts lock audit desktop clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## Make .venv as requirements-dev.lock says.

$(READY): requirements-dev.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}: say PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@# Starts are measured in seconds: have the byte code, also where PYTHONDONTWRITEBYTECODE is set.
	-@$(BIN)/python -m compileall -q -j 0 $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') >/dev/null 2>&1
	@touch $@

dev: $(READY) ## Run the whole service here; flags in ARGS="…".
	@$(BIN)/turnstone dev $(ARGS)

migrate: $(READY) ## Bring the database of TURNSTONE_DATABASE_URL to the newest schema.
	@$(BIN)/turnstone migrate $(ARGS)

test: $(READY) ## Run the tests; ARGS="…" goes to pytest.
	@$(BIN)/python -m tests.compiled
	$(PYTEST) $(ARGS)

check: $(READY) ## All that a change must pass: format, lint, types, architecture, tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	@# Once, not in each of the processes that run tests.
	@$(BIN)/python -m tests.compiled
	@# The types are checked beside the tests, which leave a core some room.
	@$(BIN)/mypy & types=$$!; $(PYTEST) $(ARGS); tests=$$?; wait $$types && exit $$tests

fix: $(READY) ## Format, and repair what the linter can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m turnstone.documents

bench: $(READY) ## Measure; results in benchmarks/RESULTS.md.
	$(BIN)/python -m benchmarks $(ARGS)

# ONLY is some of `make bench ARGS=--help`; each side is measured ROUNDS times.
bench-compare: $(READY) ## Measure this tree against BASE=<rev> in turns; ONLY=first_token,turns,… ROUNDS=3.
	@test -n "$(BASE)" || { echo "Which revision? make bench-compare BASE=<rev>" >&2; exit 1; }
	$(BIN)/python -m benchmarks.compare --base $(BASE) $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

bench-costs: $(READY) ## What a turn costs each component, for docs/scaling.md.
	$(BIN)/python -m benchmarks.costs $(ARGS)

bench-prompts: $(READY) ## Which block of the prompt appears when; fails if that is not as it should be.
	$(BIN)/python -m benchmarks.prompts

lock: ## Pin the dependencies of pyproject.toml anew (needs uv).
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

audit: $(READY) ## Are all dependencies pinned and hashed, and, where that can be asked, free of known vulnerabilities?
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/contracts/test_locks.py
	$(BIN)/python -m tests.vulnerabilities $(VENV)/audit

desktop: ## Install what the desktops of workspaces, and their tests, need (Debian, Ubuntu; as root).
	apt-get update --quiet
	apt-get install --yes --quiet --no-install-recommends $(DESKTOP)

clean: ## Remove what was built (not the data in .turnstone).
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -not -path './.turnstone/*' -prune -exec rm -rf {} +
