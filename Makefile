# What each command does stands in README.md and CONTRIBUTING.md.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := -m pip install --quiet --disable-pip-version-check
# Tests whose numbers depend on the instructions or the threads of products and sums.
KERNELS := tests/test_machine.py tests/kernels $(addprefix tests/model/test_,int8_weights.py long_inputs.py packing.py \
	prepack.py threads.py) tests/training/test_loop.py tests/training/run
NUMERIC := $(KERNELS) tests/parity $(addprefix tests/properties/test_,gradient_law.py paths_law.py)
# Tests that say the same on every processor run in `make test` alone.
NUMBERS := -m 'not anywhere'
QUICK := tests/test_imports.py tests/test_machine.py tests/test_mutations.py tests/specs tests/kernels
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
# What sources are built with: our own, and seqeval, which has no wheel and takes its version from setuptools-scm.
BUILD := setuptools setuptools-scm
TORCH := torch==2.13.0
COMPILE := compile --quiet --no-header --annotation-style line pyproject.toml

.PHONY: demo demo-train test thorough check test-avx2 test-threads test-oldest test-newest wheel-test mutations lint format docs bench lock clean

demo: .venv/ready
	$(BIN)/engine demo

# The five networks in engine/demo/models again, by recipes/demo: about two minutes each.
FAMILIES := xlnet xlm xlm-roberta-xl transformer-xl xglm
demo-train: .venv/ready
	rm -rf .demo/runs
	$(BIN)/python -m engine.demo.texts .demo
	cd .demo && for family in $(FAMILIES); do \
		../$(BIN)/engine train demo/$$family --output runs/$$family || exit 1; done
	$(BIN)/python -m engine.demo.bundle .demo/runs

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Every test of drawn examples on four times as many as it names, fresh ones each time.
thorough: .venv/ready
	THOROUGH=4 $(BIN)/python -m pytest -n 2 --dist worksteal

# A first look after a change, in under a minute: style, places of imports, specs, kernels, one machine.
check: .venv/ready
	$(BIN)/ruff check --quiet .
	$(BIN)/python -m pytest -n 2 --dist worksteal -x $(QUICK)

# Numbers as a processor without AVX-512 computes them.
test-avx2: .venv/ready
	$(AVX2) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(NUMBERS) $(NUMERIC)

test-threads: .venv/ready
	OMP_NUM_THREADS=4 $(BIN)/python -m pytest $(NUMBERS) $(KERNELS)

# Breaks the engine in thirty ways, and shows which of them no test notices.
mutations: .venv/ready
	$(BIN)/python -m tests.mutations

# The wheel alone, in an empty environment outside the checkout.
wheel-test: .venv/ready
	PYTHON=$(PYTHON) BUILDER=$(abspath $(BIN)/python) .ci/wheel-test

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every section and field of specs and recipes, from the classes that read them.
docs: .venv/ready
	$(BIN)/engine schema --markdown > docs/spec.md
	$(BIN)/engine recipe schema --markdown > docs/recipe.md

# `make bench ARGUMENTS="--write --peer PYTHON"`: with another peer, and docs/benchmarks renewed
bench: .venv/bench-ready
	$(BIN)/python -m benchmarks $(ARGUMENTS)

.venv/bench-ready: .venv/ready
	$(BIN)/python $(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[bench]'
	touch $@

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) --constraint constraints.txt $(BUILD)
	$(BIN)/python $(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[demo,test,lint,clients,train,tensorboard]'
	touch $@

# Every version of all extras, for every Python that is supported.
lock: .venv/ready
	$(BIN)/python $(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[lock]'
	echo '$(TORCH)' | $(BIN)/uv pip $(COMPILE) - --universal --python-version 3.10 --all-extras --upgrade \
		--custom-compile-command 'make lock' --output-file constraints.txt

# The lowest versions that pyproject.toml allows, and the newest of today, beside the torch that is locked.
test-oldest: RESOLUTION := --resolution lowest-direct
test-newest: RESOLUTION := --constraint .venv-newest/torch.txt
test-oldest test-newest: test-%: .venv/ready
	$(PYTHON) -m venv --clear .venv-$*
	echo '$(TORCH)' > .venv-$*/torch.txt
	$(BIN)/python $(INSTALL) --constraint constraints.txt --no-build-isolation --editable '.[lock]'
	$(BIN)/uv pip $(COMPILE) --python .venv-$*/bin/python --extra demo --extra test $(RESOLUTION) \
		--output-file .venv-$*/versions.txt
	.venv-$*/bin/python $(INSTALL) --constraint .venv-$*/versions.txt setuptools
	.venv-$*/bin/python $(INSTALL) --constraint .venv-$*/versions.txt --no-build-isolation --editable '.[demo,test]'
	.venv-$*/bin/python -m pytest -n 2 --dist worksteal

clean:
	rm -rf .venv .venv-oldest .venv-newest .demo
