# Every target does its own set-up: a virtual environment, and what Debian lacks for making one.
#
#   make demo PYTHON=python3.12     another Python for the environment
#
# Where pip finds the CPU build of torch is pip's own setting (PIP_EXTRA_INDEX_URL or
# PIP_FIND_LINKS); without one, pip on Linux takes the build for NVIDIA GPUs, which also works.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
PHOTOS ?= ../shared/data/photos
ENCODER ?= ../shared/backbones/mobilenet_edgetpu_100.safetensors
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp
# Debian packages that tests need, beside python3-venv: a display without a screen, software GL,
# a browser.
DEBIAN := xvfb xauth libegl1 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 \
    libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libglib2.0-0 chromium
# Tests that open windows open them there, never on the screen of whoever runs them. Elsewhere than
# on Debian the screen is what there is.
IS_DEBIAN := $(shell command -v dpkg-query)
DISPLAYED := $(if $(IS_DEBIAN),xvfb-run -a -s "-screen 0 1400x1000x24")
# Threads that wait for work sleep: where processes share cores, spinning costs many times over.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help env debian lint test test-slow demo screenshots notebooks settings-table embedded clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

env: $(STAMP) ## the virtual environment, with the versions of constraints.txt

lint: env ## ruff, mypy, import-linter
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

test: env ## all tests but the slow ones
	$(DISPLAYED) $(PY) -m pytest -m "not slow"

test-slow: env ## the slow tests
	$(DISPLAYED) $(PY) -m pytest -m slow

demo: env ## colorize photographs with the command line; writes demo/
	$(PY) tools/demo.py

screenshots: env ## docs/images, of the panels in napari and the boxes in Jupyter
	NAPARI_COLORIZE_SCREENSHOTS=$(CURDIR)/docs/images $(DISPLAYED) $(PY) -m pytest \
	    tests/napari/test_screenshots.py tests/jupyter/test_browser.py

notebooks: env ## run the notebooks and keep what they show
	$(PY) tools/run_notebooks.py

settings-table: env ## docs/reference/settings.md, from settings.py
	$(PY) tools/settings_table.py

embedded: env ## train the model that ships in the package, on PHOTOS
	$(PY) -m napari_colorize_training train embedded $(PHOTOS) --encoder $(ENCODER) \
	    --run runs/embedded
	$(PY) -m napari_colorize_training calibrate runs/embedded/model.safetensors $(PHOTOS)
	cp runs/embedded/model.safetensors src/napari_colorize/zoo/embedded.safetensors
	mkdir -p docs/dev/runs && cp runs/embedded/log.csv docs/dev/runs/embedded.csv

clean: ## remove what the other targets made
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src training tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The order-only `debian` is looked at every time and never makes the environment old.
$(STAMP): pyproject.toml constraints.txt | debian
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt pip  # dependency groups need pip 25.1
	$(PY) -m pip install --constraint constraints.txt torch torchvision
	$(PY) -m pip install --quiet --constraint constraints.txt \
	    --group test --group lint --editable '.[cluster,dicom,jupyter,napari,training,video]'
	touch $@

# Debian ships Python without ensurepip. Install what is missing where we may, else name it.
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
