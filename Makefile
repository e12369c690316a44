# One command for each thing a newcomer wants. `make demo` and `make test` set up all that they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/cpu.lock
STAMP := $(VENV)/.installed-$(shell sha256sum $(LOCK) pyproject.toml | sha256sum | cut -c1-12)

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

.PHONY: help setup demo test test-fast format lint type docs clean
help:
	@echo "make demo    set up, serve a small real model with vLLM on CPU, sweep it, show the results"
	@echo "make test    set up, and run every test (test-fast: without the ones that start vLLM)"
	@echo "make format lint type docs"

setup: $(STAMP)
$(STAMP): $(LOCK) pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --compile-bytecode $(TORCH) -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	rm -f $(VENV)/.installed-* && touch $@

demo: setup
	$(BIN)/benchhydra -m model=smollm2 script=serving qps=1,2,4 $(DEMO) num_prompts=24 description="make demo"
	$(BIN)/benchhydra -m model=smollm2 script=throughput num_prompts=16,32 $(DEMO) description="make demo"
	@echo "Compare the runs in MLflow: $(BIN)/benchhydra ui"

test: setup lint type
	$(BIN)/python -m compileall -q src  # also where no byte code is written: the tests start many processes
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=85

test-fast: setup
	$(BIN)/python -m pytest -m "not vllm and not slow" -q

format: setup
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: setup
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m benchhydra metrics --markdown > docs/metrics.md

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
