# One command for each thing a newcomer wants. `make demo` and `make test` set up all that they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/cpu.lock
STAMP := $(VENV)/.installed-$(shell sha256sum $(LOCK) pyproject.toml | sha256sum | cut -c1-12)
IS_NODE_RECENT := const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)
NODE_STAMP := node_modules/.installed-$(shell sha256sum package-lock.json | cut -c1-12)

# uv does not read pip's find-links; where none is set, torch for CPU comes from PyTorch's own index.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
TORCH :=
else
TORCH := --torch-backend cpu
endif

# float32: CPUs without AVX-512 emulate bfloat16, many times slower. Short answers, so that a small machine without a GPU
# is done in minutes. The verdict is shown, and does not stop the demo.
DEMO := model.dtype=float32 dataset.prompt_tokens=64 dataset.output_tokens=32 script.fail_on=never

.PHONY: help setup node check-node demo test test-fast format lint type docs clean
help:
	@echo "make demo    set up, serve a small real model with vLLM on CPU, sweep it, show the results"
	@echo "make test    set up, and run every test (test-fast: without the ones that start vLLM)"
	@echo "make format lint type docs"
	@echo "Developing (test, format, lint, type) also takes Node.js, for the report's scripts."

setup: $(STAMP)
$(STAMP): $(LOCK) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --compile-bytecode $(TORCH) -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	rm -f $(VENV)/.installed-* && touch $@

# Lint, format and type check of the report's JavaScript. Using benchhydra takes none of it.
node: $(NODE_STAMP)
$(NODE_STAMP): package.json package-lock.json | check-node
	npm ci --no-audit --no-fund --loglevel=error
	rm -f node_modules/.installed-* && touch $@

check-node:
	@command -v npm >/dev/null && node -e '$(IS_NODE_RECENT)' || \
	    { echo "Install Node.js 20.19 or newer, with npm: the report's JavaScript is checked with it" >&2; exit 1; }

demo: setup
	$(BIN)/benchhydra -m model=smollm2 script=serving qps=1,2,4 $(DEMO) num_prompts=24 description="make demo"
	$(BIN)/benchhydra -m model=smollm2 script=throughput num_prompts=16,32 $(DEMO) description="make demo"
	@echo "Compare the runs in MLflow: $(BIN)/benchhydra ui"

test: setup lint type
	$(BIN)/python -m compileall -q src  # also where no byte code is written: the tests start many processes
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=85

test-fast: setup
	$(BIN)/python -m pytest -m "not vllm and not slow" -q

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

clean:
	rm -rf $(VENV) node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
