# Everything needs only Python 3.11 or newer and make; the first call of a target installs what it needs.
VENV ?= .venv
PYTHON ?= python3
export VENV

PIP = $(VENV)/bin/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test quick check bench fuzz docs model clean

demo: $(VENV)/.train  ## train AE, AE+GAN and AMR on real digits, end with a report
	$(VENV)/bin/latentmix demo

test: $(VENV)/.dev  ## all tests, about ten minutes on two cores
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --dist worksteal

quick: $(VENV)/.dev  ## mathematics and contracts only, under a minute on two cores
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --dist worksteal tests/mixing tests/methods tests/networks \
	    tests/test_layers.py tests/test_names.py tests/test_config.py --deselect tests/methods/test_golden.py

docs: $(VENV)/.dev  ## the API reference, from the docstrings
	$(VENV)/bin/pdoc --docformat google --output-directory build/docs latentmix $(addprefix latentmix.,mixing data networks \
	    manifold methods metrics config runs training scoring pictures reports apps tables)

check: $(VENV)/.dev  ## lint, format, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

fuzz: $(VENV)/.dev  ## damaged images, data sets and runs, and random commands, about ten minutes
	OMP_NUM_THREADS=1 $(VENV)/bin/python benchmarks/fuzz.py images archives --count 10000
	OMP_NUM_THREADS=1 $(VENV)/bin/python benchmarks/fuzz.py runs --count 2000
	OMP_NUM_THREADS=1 $(VENV)/bin/python benchmarks/fuzz.py commands --count 1000

bench: $(VENV)/.dev  ## speed and memory, ratios first; PEER=checkout of the published code, DATA=MNIST in parquet
	$(VENV)/bin/python benchmarks/all.py $(if $(PEER),--peer $(PEER)) $(if $(DATA),--data $(DATA))

model: $(VENV)/.train  ## train the model that comes with latentmix anew, some minutes
	$(VENV)/bin/latentmix train src/latentmix/models/digits.yaml out=runs/model-digits
	$(VENV)/bin/latentmix evaluate runs/model-digits probe reconstruction --checkpoint last
	rm -rf src/latentmix/models/digits
	$(VENV)/bin/latentmix export runs/model-digits --to hub --checkpoint last --out src/latentmix/models/digits
	$(VENV)/bin/python -m latentmix.apps.trained_reader src/latentmix/models/digits

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "latentmix needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (a minute or two, once)"
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (a minute or two, once)"
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps timm  # without the torchvision that it asks for; the tests have a stand-in
	$(PIP) --no-deps keras namex  # without optree, which changes how torch.compile traces
	touch $@ $(VENV)/.train
