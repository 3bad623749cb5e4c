# Everything runs from .venv, which the first target that needs it sets up; see `make help`.
ifeq ($(origin PYTHON),undefined)
# Found out once, and only by who needs it.
PYTHON = $(eval PYTHON := $(shell sh deploy/fastest-python.sh || echo python3))$(PYTHON)
endif
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLASSES := $(VENV)/broker-classes.jsa
KERNEL := app/kernel/_kernel.abi3.so
DIR ?= tests/conformance/vectors
PYTEST_ARGS ?=

# The tests start a hundred processes. Without bytecode each compiles the product anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test check vectors lint format bench attacks neighbours fuzz sanitize laws-long simulate \
  seeded-bugs chaos upgrade audit tools clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || \
	  sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' Makefile

setup: $(STAMP) $(KERNEL) ## Virtual environment and pinned install only

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
	  echo "Name another one: make $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python cannot create virtual environments: its ensurepip or venv module is missing."; \
	  echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@[ ! -L $(VENV) ] || { \
	  echo "$(VENV) is a link: setting it up would empty an environment that others share."; \
	  echo "Run make setup where it leads to, or remove the link."; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) (once, about a minute) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[test]' || { \
	  echo "The install failed; the first time it needs the network. The lines above say why."; exit 1; }
	@touch $@

# Where it cannot be compiled this says so, and Python does its work.
$(KERNEL): $(wildcard app/kernel/*.c app/kernel/*.h) | $(STAMP)
	@$(BIN)/python deploy/build_backend.py

run: $(STAMP) $(KERNEL) ## Kafka, Redis, worker, API, page and sample events on this machine
	@$(BIN)/meter up

# These measure latency, which the suite would disturb. An attack takes less than half of two cores,
# so two are played at once. ATTACK_SLACK multiplies their budgets of time (not of memory): 4 here, for
# a build machine of two cores has to carry workers, brokers, neighbours and attacks at once. For how
# long worker and neighbour had no core does not count, where Linux tells it; elsewhere a busy machine
# needs more: make test ATTACK_SLACK=10. `make attacks` plays one at a time, by the budgets themselves.
ATTACKS := tests/attacks
ATTACK_SLACK ?= 4

# Made once. Each broker of the tests then starts in half the time.
$(CLASSES): $(STAMP)
	@$(BIN)/python -m tests.world.live.broker_classes

test: lint $(CLASSES) $(KERNEL) ## Style, types and the whole suite on real servers
	@$(BIN)/pytest -rfEs --numprocesses 3 --dist loadgroup --no-loadscope-reorder \
	  --ignore $(ATTACKS) $(PYTEST_ARGS)
	@ATTACK_SLACK=$(ATTACK_SLACK) $(BIN)/pytest -rfEs --numprocesses 2 --dist loadgroup \
	  --no-loadscope-reorder $(PYTEST_ARGS) $(ATTACKS)

# What code does, without servers. Whatever needs one is marked so, by its fixtures or by hand.
CHECKED := $(addprefix tests/,agents app tables laws rules semantics conformance simulation seeded_bugs \
  upgrade fuzz docs)

check: lint $(KERNEL) ## Style, types and a little of every test that needs no server, in two minutes
	@$(BIN)/pytest -q -rfE --numprocesses 2 --dist worksteal --hypothesis-profile check --durations 10 \
	  -m 'not servers and not slow' $(PYTEST_ARGS) $(CHECKED)

vectors: $(STAMP) ## Conformance vectors of DIR= (LIVE=1: through a running worker)
	@$(BIN)/python -m tests.conformance $(if $(LIVE),--live) '$(DIR)'

lint: $(STAMP) ## Style, who imports whom, and types only
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports --no-logo --no-cache >.imports.log || { cat .imports.log; exit 1; }
# On a busy machine its workers may not be there in time: that is exit code 2, and then it works alone.
	@$(BIN)/mypy --num-workers 2 || { [ $$? -eq 2 ] && $(BIN)/mypy; }

format: $(STAMP) ## Bring the style in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Words of the command line, by the variable that gives them.
BENCH_OPTIONS = $(foreach name,EVENTS ROUNDS LOADS CONTESTANTS,$(if $($(name)), \
  --$(shell echo $(name) | tr A-Z a-z) '$($(name))')) $(if $(NOTE),--note '$(NOTE)')

bench: $(STAMP) $(KERNEL) ## The contest, written to bench/README.md: EVENTS= ROUNDS= LOADS= CONTESTANTS=; or PART=pairs,charges,…
	@$(BIN)/python -m bench $(PART) $(BENCH_OPTIONS)

attacks: $(STAMP) ## Every attack on a real worker, measured: writes bench/attacks.md
	@$(BIN)/python -m bench.attacks $(PYTEST_ARGS)

neighbours: $(STAMP) ## What one organization notices of another that attacks: MINUTES= (10) all at once, RATE=
	@$(BIN)/python -m bench.neighbours --minutes $(or $(MINUTES),10) --rate $(or $(RATE),10000)

fuzz: $(STAMP) ## Any bytes to what reads them, guided by coverage: SECONDS= a target (600), TARGETS=
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet \
	  --disable-pip-version-check --constraint constraints.txt --only-binary :all: 'atheris==3.0.0' || true
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(TARGETS)

sanitize: $(STAMP) ## The compiled kernel watched by gcc's sanitizers: any bytes, laws, vectors; then what it loses
	@$(BIN)/python -m tests.app.kernel.sanitized tests/app/kernel tests/fuzz tests/laws tests/conformance
	@$(BIN)/python -m tests.app.kernel.sanitized --leaks --hypothesis-profile check tests/app/kernel

laws-long: $(STAMP) ## Long run of the laws: TIMES= (10) as many examples as each says, others each time
	@LAWS_TIMES=$(or $(TIMES),10) $(BIN)/pytest -q -rfE --numprocesses 2 --dist worksteal --timeout 0 \
	  --hypothesis-profile long -m 'hypothesis and not servers' $(PYTEST_ARGS)

simulate: $(STAMP) ## Long simulation: SEEDS= (100000), FIRST= of them, JOBS= processes, SEED= replays one
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100000) \
	  --first $(or $(FIRST),0) --jobs $(or $(JOBS),0))

seeded-bugs: $(STAMP) $(KERNEL) ## Plant each bug in a copy: the test that it names must fail; ONLY= one of them, JOBS= copies
	@$(BIN)/python -m tests.seeded_bugs $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS))

chaos: $(STAMP) ## Long run of faults on real servers: MINUTES= SEED=; long absences of brokers: AWAY_S=
	@$(BIN)/python -m tests.faults.chaos --minutes $(or $(MINUTES),30) --seed $(or $(SEED),7)
	@$(BIN)/python -m tests.faults.outages --away $(or $(AWAY_S),60)

upgrade: $(STAMP) ## Roll workers of an earlier version to this one under load: FROM= a commit or tag
	@$(BIN)/python -m tests.faults.upgrade --from $(or $(FROM),HEAD~100)

audit: $(STAMP) ## Known vulnerabilities of the pinned dependencies
	@$(BIN)/python -m pip_audit --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet \
	  --disable-pip-version-check --constraint constraints.txt 'pip-audit==2.10.1'
	@$(BIN)/python deploy/audit.py

# What the tests of deploy/ ask, and skip without: Go builds the one, Debian's package has the other.
tools: .meter/tools/helm .meter/tools/promtool ## helm (by Go) and promtool (by apt-get) into .meter/tools

.meter/tools/helm:
	@mkdir -p $(@D)
	@GOBIN=$(abspath $(@D)) go install -ldflags='-s -w' helm.sh/helm/v3/cmd/helm@v3.16.4

.meter/tools/promtool:
	@mkdir -p $(@D)/package
	@cd $(@D)/package && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg -x *.deb .
	@mv $(@D)/package/usr/bin/promtool $@
	@rm -rf $(@D)/package

clean: ## Remove the virtual environment, caches and local state
	@rm -rf $(VENV) .meter .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
