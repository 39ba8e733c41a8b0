# Everything a person runs in a checkout. `make` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
DEVICE := .venv-device
DEV := .venv
PY := $(DEV)/bin/python
# Labelled and unlabelled audio that is not part of the repository; what needs it skips or says so where it is absent.
export EARMARK_SHARED ?= ../shared
DEBS := libasound2-plugins libportaudio2 pulseaudio pulseaudio-utils

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

# --- the device ---------------------------------------------------------------------------------------------------

$(DEVICE)/bin/earmark: pyproject.toml $(shell find device_app -type f -not -name '*.pyc')
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is not Python 3.11 to 3.13: name one, make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x $(DEVICE)/bin/python || $(PYTHON) -m venv $(DEVICE)
	$(DEVICE)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	$(DEVICE)/bin/pip install --quiet --disable-pip-version-check .
	@touch $@

.PHONY: demo
demo: $(DEVICE)/bin/earmark ## install the device alone, enrol four sounds from five recordings, hear them in a noisy stream
	@$(DEVICE)/bin/earmark demo

# --- development --------------------------------------------------------------------------------------------------

$(DEV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: $(PYTHON) is not Python 3.11 to 3.13: name one, make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	@touch $@

.PHONY: install
install: $(DEV)/.installed ## the development environment (PyTorch: several GB)

.PHONY: debs
debs: ## Debian packages for the tests with a virtual microphone
	@missing=$$(dpkg-query -W -f='$${Status}\n' $(DEBS) 2>&1 | grep -cv '^install ok installed$$' || true); \
	if [ "$$missing" = 0 ]; then exit 0; fi; \
	root=; if [ "$$(id -u)" != 0 ]; then root='sudo -n'; fi; \
	if command -v apt-get >/dev/null && $$root true 2>/dev/null; then \
	  $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$root apt-get -qq install -y --no-install-recommends $(DEBS) >/dev/null; \
	else \
	  echo "no right to install $(DEBS): the tests with a microphone will be skipped" >&2; \
	fi

.PHONY: test
test: $(DEV)/.installed debs ## install what the tests need and run them all
	$(PY) -m pytest

.PHONY: check
check: $(DEV)/.installed debs ## format, lint, types, imports, tests
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports
	$(PY) -m pytest

.PHONY: size
size: $(DEVICE)/bin/earmark ## size of the device's installed environment
	@du -sm --apparent-size $(DEVICE) | awk '{print $$1 " MB"}'

.PHONY: bench-stream
bench-stream: $(DEV)/.installed ## sounds heard and false alarms an hour, over many random choices of sounds
	$(PY) -m tests.bench.stream

.PHONY: demo-clips
demo-clips: $(DEV)/.installed ## choose the demo's clips anew from ESC-10
	$(PY) -m export.demo_clips $(EARMARK_SHARED)/data/fewshot/esc10 device_app/data/demo

# --- the shipped model --------------------------------------------------------------------------------------------

AUDIO := build/pretrain
CACHE := build/cache/pretrain
TEACHERS := $(EARMARK_SHARED)/data/teachers

$(AUDIO)/.unpacked: | $(DEV)/.installed
	@test -d $(EARMARK_SHARED)/data/pretrain || { echo "error: no pretraining audio in $(EARMARK_SHARED)/data/pretrain:" \
	  "set EARMARK_SHARED, or rebuild the corpus with 'make corpus' (docs/TRAINING.md)" >&2; exit 1; }
	mkdir -p $(AUDIO)
	for archive in $(EARMARK_SHARED)/data/pretrain/*.tar; do tar -xf $$archive -C $(AUDIO); done
	@touch $@

.PHONY: model
model: $(AUDIO)/.unpacked ## rebuild the shipped model: cache, teachers' answers, pretraining (hours), export; resumes
	$(PY) -m train cache --audio $(AUDIO) --out $(CACHE)
	$(PY) -m train teachers --config configs/shipped.toml --cache $(CACHE) --teachers $(TEACHERS)
	$(PY) -m train pretrain --config configs/shipped.toml --cache $(CACHE) --teachers $(TEACHERS) --out runs/model --resume
	$(PY) -m export runs/model/last.pt -o device_app/data/model.onnx --corpus $(CACHE)
	$(PY) -m tests.golden.shipped_embedding runs/model/last.pt $(CACHE)

# --- export -------------------------------------------------------------------------------------------------------

MODEL ?= device_app/data/model.onnx
CHECKPOINT ?= runs/model/last.pt
EXPORT_CORPUS ?= build/cache/pretrain

.PHONY: bench-model
bench-model: $(DEV)/.installed ## speed, size, load time and memory of the model, beside fp32 and Google's speech_embedding
	$(PY) -m export bench $(MODEL) $(addprefix --against ,$(wildcard $(EARMARK_SHARED)/data/teachers/speech-embedding.onnx))

.PHONY: verify-model
verify-model: $(DEV)/.installed ## parity report: torch against fp32 against the file (MODEL=, CHECKPOINT=, EXPORT_CORPUS=)
	$(PY) -m export verify $(MODEL) --checkpoint $(CHECKPOINT) --corpus $(EXPORT_CORPUS) $(addprefix --fewshot ,$(wildcard $(EARMARK_SHARED)/data/fewshot))

.PHONY: model-card
model-card: $(DEV)/.installed ## MODEL_CARD.md from the model file and its parity report
	$(PY) -m export card $(MODEL) -o MODEL_CARD.md

.PHONY: emulate-pi
emulate-pi: $(DEV)/.installed ## the model on an emulated Cortex-A72, compared with this machine (needs qemu-user-static, debootstrap)
	$(PY) -m export aarch64 $(MODEL)

# --- training -----------------------------------------------------------------------------------------------------

CORPUS_DEBS := ffmpeg fluidsynth espeak-ng
FROM ?= train/weights.pt
ADAPT ?= configs/adapt.toml
OUT ?= runs/own
SETS ?= $(wildcard $(EARMARK_SHARED)/data/fewshot/esc10 $(EARMARK_SHARED)/data/fewshot/fsdd)
# Whether AUDIO was named by whoever called make.
NAMED := $(filter-out file,$(origin AUDIO))

.PHONY: corpus
corpus: $(DEV)/.installed ## rebuild the pretraining corpus from Debian's packages (needs Debian; resumes)
	@if ! dpkg-query -W $(CORPUS_DEBS) >/dev/null 2>&1; then \
	  root=; if [ "$$(id -u)" != 0 ]; then root='sudo -n'; fi; \
	  $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$root apt-get -qq install -y --no-install-recommends $(CORPUS_DEBS) >/dev/null \
	    || { echo "error: install these first: apt-get install $(CORPUS_DEBS)" >&2; exit 1; }; \
	fi
	$(PY) -m train corpus --out build/debian --synth-speech 2000

.PHONY: retrain
retrain: $(DEV)/.installed ## AUDIO=FOLDER: adapt the released weights to your own audio, export, verify, evaluate; resumes
	@[ -n "$(NAMED)" ] || { echo "error: name your folder of audio: make retrain AUDIO=FOLDER" >&2; exit 1; }
	$(PY) -m train adapt --from $(FROM) --config $(ADAPT) --audio "$(AUDIO)" --out $(OUT) --resume
	$(PY) -m export $(OUT)/last.pt -o $(OUT)/model.onnx --corpus $(OUT)/cache
	$(PY) -m export verify $(OUT)/model.onnx --checkpoint $(OUT)/last.pt --corpus $(OUT)/cache
	@if [ -z "$(SETS)" ]; then echo "no labelled sets to evaluate with: name their folders with SETS='FOLDER ...'" >&2; fi
	$(if $(SETS),$(PY) -m train evaluate $(FROM) --sets $(SETS))
	$(if $(SETS),$(PY) -m train evaluate $(OUT)/last.pt --sets $(SETS))
	@echo "made $(OUT)/model.onnx: earmark listen --model $(OUT)/model.onnx" >&2

.PHONY: bench-train
bench-train: BENCH_CACHE = $(if $(NAMED),build/cache/own,$(CACHE))
bench-train: $(DEV)/.installed $(if $(NAMED),,$(AUDIO)/.unpacked) ## a step's speed against a clip-by-clip pipeline as published
	$(PY) -m train cache --audio "$(AUDIO)" --out $(BENCH_CACHE)
	$(PY) -m train bench --config configs/shipped.toml --cache $(BENCH_CACHE) --audio "$(AUDIO)" --threads 1
	$(PY) -m train bench --config configs/shipped.toml --cache $(BENCH_CACHE) --audio "$(AUDIO)"

.PHONY: smoke
smoke: $(DEV)/.installed ## every part of training in about a minute, on made-up sounds
	rm -rf build/smoke
	$(PY) -m tests.train.sounds build/smoke/audio
	$(PY) -m train cache --audio build/smoke/audio --out build/smoke/cache
	$(PY) -m train pretrain --config configs/smoke.toml --cache build/smoke/cache --out build/smoke/run
	$(PY) -m export build/smoke/run/last.pt -o build/smoke/model.onnx --corpus build/smoke/cache
	$(PY) -m train evaluate build/smoke/run/last.pt --sets build/smoke/audio --n-way 3 --episodes 50
