# The whole of it: `make appliance` builds, saves and shows the appliance; `make test` tests it.
TARGET ?= cpu
MODEL ?= base

export PATH := $(CURDIR)/.venv/bin:$(PATH)
# pip's settings are the account's, also where HOME points elsewhere (sudo, CI).
ACCOUNT_PIP_CONFIG := $(wildcard $(shell getent passwd "$$(id -u)" | cut -d: -f6)/.config/pip/pip.conf)
ifneq ($(ACCOUNT_PIP_CONFIG),)
export PIP_CONFIG_FILE ?= $(ACCOUNT_PIP_CONFIG)
endif

TARGETS :=
include images/*/target.mk
ifeq ($(filter $(TARGET),$(TARGETS)),)
$(error unknown TARGET '$(TARGET)': one of $(TARGETS))
endif

SHELL_SCRIPTS := $(wildcard scripts/*.sh) .ci/run
UNIT := not model and not image and not browser and not boot and not gpu and not network

.PHONY: help appliance setup fetch bake image save demo test check bench lock clean
.DEFAULT_GOAL := help

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "  TARGET=$(TARGET) (of: $(TARGETS)), MODEL=$(MODEL)"

appliance: setup ## fetch, bake, build, save, and show the image working with networking off
	@wlk-appliance fetch $(MODEL) --with-assets --recordings
	@wlk-appliance bake $(MODEL)
	@wlk-appliance image build --target $(TARGET) --model $(MODEL)
	@wlk-appliance image save --target $(TARGET) --model $(MODEL)
	@wlk-appliance demo --target $(TARGET) --model $(MODEL)

setup: ## make .venv with the locked tools
	@scripts/setup.sh

fetch: setup ## obtain and verify what MODEL needs
	@wlk-appliance fetch $(MODEL) --with-assets --recordings

bake: setup ## make and prove the pair of MODEL
	@wlk-appliance bake $(MODEL)

image: bake ## build the image of TARGET with MODEL
	@wlk-appliance image build --target $(TARGET) --model $(MODEL)

save: image ## save that image under dist/
	@wlk-appliance image save --target $(TARGET) --model $(MODEL)

demo: setup ## run that image with networking off and stream speech through it
	@wlk-appliance demo --target $(TARGET) --model $(MODEL)

test: image ## all tests, with the real model, engine and browser
	@scripts/test_packages.sh
	@python -m pytest $(PYTEST)

check: setup ## linters, types, and the tests that need nothing
	@ruff check .
	@ruff format --check .
	@mypy
	@shellcheck $(SHELL_SCRIPTS)
	@hadolint images/*/Dockerfile
	@python -m pytest -q --numprocesses 2 -m "$(UNIT)" $(PYTEST)

bench: bake ## measure accuracy, latency and cost of MODEL (BENCH=: more flags, such as --noise)
	@wlk-appliance bench --model $(MODEL) $(BENCH)

lock: setup ## regenerate the requirements locks (UPGRADE=--upgrade for newer versions)
	@scripts/lock.sh $(UPGRADE)

clean: ## remove what was built here; images stay in the engine
	rm -rf build dist .venv
