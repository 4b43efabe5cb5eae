# Every target creates the virtual environment and installs missing Debian packages first.
#
#   make demo PYTHON=python3.12     use another Python for the environment
#
# Set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to an index of torch's CPU builds. Without it, pip on
# Linux installs the build for NVIDIA GPUs, which works as well.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
PHOTOS ?= ../shared/data/photos
ENCODER ?= ../shared/backbones/mobilenet_edgetpu_100.safetensors
# Processes that share the tests of `make test`, with one thread each. 0: one process, all threads.
WORKERS ?= 2
FUZZ_MINUTES ?= 10
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp
# Debian packages for the tests, in addition to python3-venv: a virtual display, software GL, a
# browser.
DEBIAN := xvfb xauth libegl1 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 \
    libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libglib2.0-0 chromium
# On Debian, windows of tests are opened on a virtual display. Elsewhere the screen is used.
IS_DEBIAN := $(shell command -v dpkg-query)
DISPLAYED := $(if $(IS_DEBIAN),xvfb-run -a -s "-screen 0 1400x1000x24")
# Waiting OpenMP threads sleep instead of spinning, which is slow if processes share cores.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help env debian lint test test-slow fuzz demo docs screenshots notebooks settings-table command-line-page \
    embedded clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

env: $(STAMP) ## the virtual environment, with the versions of constraints.txt

lint: env ## ruff, mypy, import-linter
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

test: env ## all tests but the slow ones
	$(if $(filter-out 0,$(WORKERS)),OMP_NUM_THREADS=1) $(DISPLAYED) \
	    $(PY) -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

test-slow: env ## the slow tests
	$(DISPLAYED) $(PY) -m pytest -m slow

fuzz: env ## damaged files for every reader, for FUZZ_MINUTES
	$(PY) tools/fuzz.py $(FUZZ_MINUTES)

demo: env ## colorize photographs with the command line; writes demo/
	$(PY) tools/demo.py

screenshots: env ## docs/images, of the panels in napari and the boxes in Jupyter
	NAPARI_COLORIZE_SCREENSHOTS=$(CURDIR)/docs/images $(DISPLAYED) $(PY) -m pytest \
	    tests/napari/test_screenshots.py tests/jupyter/test_browser.py

notebooks: env ## run the notebooks and save their output
	$(PY) tools/run_notebooks.py

docs: env settings-table command-line-page ## the documentation site, build/docs/index.html
	$(PY) -m sphinx -b html --fail-on-warning --keep-going docs build/docs

command-line-page: env ## docs/reference/command-line.md, from both programs
	$(PY) tools/command_line_page.py

settings-table: env ## docs/reference/settings.md, from settings.py
	$(PY) tools/settings_table.py

embedded: env ## train the model in the package on PHOTOS
	$(PY) -m napari_colorize_training train embedded $(PHOTOS) --encoder $(ENCODER) \
	    --run runs/embedded
	$(PY) -m napari_colorize_training calibrate runs/embedded/model.safetensors $(PHOTOS)
	cp runs/embedded/model.safetensors src/napari_colorize/zoo/embedded.safetensors
	mkdir -p docs/dev/runs && cp runs/embedded/log.csv docs/dev/runs/embedded.csv

clean: ## remove the files made by other targets
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src training tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# `debian` is order-only: it is checked every time, but does not make the environment outdated.
$(STAMP): pyproject.toml constraints.txt | debian
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt pip  # dependency groups need pip 25.1
	$(PY) -m pip install --constraint constraints.txt torch torchvision
	$(PY) -m pip install --quiet --constraint constraints.txt \
	    --group test --group lint --editable '.[cluster,dicom,docs,jupyter,napari,onnx,training,video]'
	touch $@

# Debian packages Python without ensurepip. Install missing packages if permitted, else list them.
debian:
	@missing=''; \
	if [ ! -x $(PY) ]; then \
	    $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	        echo 'Python 3.11 or newer is needed. Name one: make PYTHON=python3.12' >&2; exit 1; }; \
	    $(PYTHON) -c 'import ensurepip' 2>/dev/null || missing='python3-venv'; \
	fi; \
	for package in $(if $(IS_DEBIAN),$(DEBIAN)); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
	        || missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ]; then may=''; else may='sudo -n'; fi; \
	if command -v apt-get >/dev/null && $$may true 2>/dev/null; then \
	    $$may apt-get update -q && \
	    $$may env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing \
	        && exit 0; \
	fi; \
	echo "These packages are missing. Please install them: apt-get install $$missing" >&2; exit 1
