# Needs python3 (3.11 or newer, with venv), make and a package index; everything else goes into .venv.
#
#   make demo [SERVER=minio] [KEEP=1]    the life of a dataset on a real S3 server, told as it happens
#   make test                            lint, types, import rules and the tests

SHELL := /bin/sh
SERVER ?= seaweedfs
BIN := .venv/bin
PYTEST := $(BIN)/pytest -n 3 --dist worksteal # a third of the time is spent waiting for servers
PACKAGES := connector pipelines dagster_project
INSTALLED_FROM := pyproject.toml constraints.txt tools/venv.py
unexport PYTHONDONTWRITEBYTECODE # hundreds of child processes would each compile all that they import

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-slow soak test-role test-lowest lint fmt docs minio spark audit bench lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/demo.stamp ## the whole story on a real server; SERVER=minio for MinIO, KEEP=1 to keep the data
	@$(BIN)/tierlake demo --server $(SERVER) $(if $(KEEP),--keep)

ui: .venv/demo.stamp ## the Dagster UI on the demo's data
	@$(BIN)/tierlake demo --server $(SERVER) --ui

test: lint ## what must be green: lint, types, import rules, quick tests with a coverage floor (10 to 20 minutes on two cores)
	$(PYTEST) -m "not slow and not soak" --cov

test-slow: .venv/slow.stamp ## the other servers, formats and kinds, a sample of kill points, the demo, the browser (30 to 60 minutes)
	$(PYTEST) -m "slow and not soak"

soak: .venv/slow.stamp minio spark ## what is exhaustive: all combinations, every kill point, long random lives, load, Spark (hours, by hand; TIERLAKE_SOAK_EXAMPLES)
	$(PYTEST) -m soak

test-role: .venv/dev.stamp ## the tests with the rights of an operator alone (ROLE=)
	$(PYTEST) -m "not slow and not soak" --role $(or $(ROLE),operator)

test-lowest: .venv-lowest/dev.stamp ## the tests on the lowest versions that pyproject.toml allows of what it names
	$(PYTEST:$(BIN)/%=.venv-lowest/bin/%) -m "not slow and not soak"

lint: .venv/dev.stamp ## ruff, formatting, strict types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: .venv/dev.stamp ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

docs: .venv/dev.stamp ## the documentation as a site, into site/, with the reference made from the code; no warning passes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

minio: ## a real MinIO server and mc, built once per machine into the user's cache folder
	@tools/minio.sh

spark: ## a real Spark with Delta, once per machine, into the user's cache folder
	@tools/spark.sh

audit: ## known vulnerabilities of the versions in constraints.txt, as PyPI knows them (online, by hand)
	@tools/audit.sh

bench: .venv/bench.stamp .venv-peers/bench.stamp ## all benchmarks, beside other libraries, into docs/benchmarks.md (an hour; BENCH="columns --rounds 7")
	@$(BIN)/python -m benchmarks --server $(SERVER) $(BENCH)

lock: .venv/dev.stamp ## constraints*.txt anew: the newest and the lowest versions that fit, and the benchmarks' peers
	@tools/lock.sh

clean: ## .venv, caches and the demo's data
	rm -rf .venv .venv-audit .venv-lowest .venv-peers .demo site .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(PACKAGES) tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/demo.stamp: $(INSTALLED_FROM)
	@python=$$(tools/python.sh) && "$$python" tools/venv.py demo
	@touch $@

.venv/dev.stamp: $(INSTALLED_FROM)
	@python=$$(tools/python.sh) && "$$python" tools/venv.py dev
	@touch .venv/demo.stamp $@

.venv/slow.stamp: $(INSTALLED_FROM)
	@python=$$(tools/python.sh) && "$$python" tools/venv.py dev,engines,executors
	@touch .venv/demo.stamp .venv/dev.stamp $@

.venv/bench.stamp: $(INSTALLED_FROM)
	@python=$$(tools/python.sh) && "$$python" tools/venv.py dev,bench
	@touch .venv/demo.stamp .venv/dev.stamp $@

.venv-peers/bench.stamp: constraints-peers.txt tools/venv.py
	@python=$$(tools/python.sh) && "$$python" tools/venv.py peers peers
	@touch $@

.venv-lowest/dev.stamp: pyproject.toml constraints-lowest.txt tools/venv.py
	@python=$$(tools/python.sh) && "$$python" tools/venv.py dev lowest
	@touch $@
