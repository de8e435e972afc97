# The whole appliance from one manifest. `make help` lists what there is.
MODEL ?= base
TARGET ?= cpu
WLK := .venv/bin/wlk-appliance
PYTEST := .venv/bin/python -m pytest

include images/*/target.mk

.DEFAULT_GOAL := help
.PHONY: help setup appliance fetch bake image save demo test check lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo "MODEL=$(MODEL) TARGET=$(TARGET) (targets: $(TARGETS))"

setup: ## make .venv from the locks
	@scripts/setup.sh

appliance: save ## fetch, bake, build, save, and run offline on a real recording
	@$(WLK) demo --target $(TARGET) --model $(MODEL)

fetch: setup ## fetch and verify what the image needs
	@$(WLK) fetch $(MODEL) --with-assets

bake: fetch ## make the encoder/decoder pair
	@$(WLK) bake $(MODEL)

image: bake ## build the container image
	@$(WLK) image build --target $(TARGET) --model $(MODEL)

save: image ## save the image under dist/
	@$(WLK) image save --target $(TARGET) --model $(MODEL)

demo: image ## run the image with networking off and stream a recording through it
	@$(WLK) demo --target $(TARGET) --model $(MODEL)

test: ## every test: real models, the built image, a real browser
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory image
	@$(PYTEST)

check: setup ## linters, types and the fast tests, under a minute
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/shellcheck scripts/*.sh .ci/run
	@.venv/bin/hadolint images/*/Dockerfile
	@$(PYTEST) -q -m "not model and not image and not browser and not boot and not gpu and not network"

lock: setup ## compile the locks anew from pyproject.toml
	@scripts/lock.sh

clean: ## remove what was built; fetched files stay in build/store
	rm -rf dist build/context build/pairs .mypy_cache .pytest_cache .ruff_cache
