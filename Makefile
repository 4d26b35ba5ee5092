# The two that a new user needs: make demo, make test.
VENV := .venv/bin
WORKERS ?= 2
LOCKED := --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: demo test lint bench setup lock down

demo:
	@scripts/setup.sh run
	@$(VENV)/python examples/demo.py

down:
	@$(VENV)/weft down

test:
	@scripts/setup.sh test
	$(VENV)/python -m pytest tests/unit -n $(WORKERS)
	$(VENV)/python -m pytest tests/system -n $(WORKERS) --dist loadfile

lint:
	@scripts/setup.sh run
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy

bench:
	@scripts/setup.sh bench
	$(VENV)/python -m bench

lock:
	uv pip compile --quiet pyproject.toml --extra dev $(LOCKED) -o requirements.lock
	uv pip compile --quiet pyproject.toml --extra dev --extra bench $(LOCKED) -o requirements-bench.lock
