# The whole of it: `make appliance` builds, saves and shows the appliance; `make test` tests it.
TARGET ?= cpu
MODEL ?= base
ENGINE ?= auto
DIARIZATION ?= none
POLICY ?= any
IMAGE ?= $(TARGET)
KEY ?= bundle.key
ifneq ($(ENGINE),auto)
export WLK_ENGINE := $(ENGINE)
endif

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

SHELL_SCRIPTS := $(wildcard scripts/*.sh scripts/*/*.sh images/*/*.sh) .ci/run
UNIT := not model and not image and not browser and not boot and not gpu and not nemo and not network
# One more process than cores: tests wait too. More threads in each, for models this small, only wait for each other.
UNIT_PYTEST = OMP_NUM_THREADS=1 python -m pytest -q --numprocesses 3 --dist worksteal -m "$(UNIT)"

IMAGES := $(addprefix image-,$(TARGETS))
VARIANT = --diarization $(DIARIZATION)
BUILD_FLAGS = --model $(MODEL) $(VARIANT) --licence-policy $(POLICY) $(if $(ARCH),--arch $(ARCH))
BUILD_IMAGE = wlk-appliance image build $(BUILD_FLAGS)

.PHONY: help appliance setup fetch bake image $(IMAGES) images kit wheels sources save bundle push demo test check fuzz audit bench soak lock clean
.DEFAULT_GOAL := help

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@printf '  make %-10s build the image of that target\n' $(IMAGES)
	@echo "variables, with their defaults:"
	@echo "  TARGET=$(TARGET)     of: $(TARGETS)"
	@echo "  MODEL=$(MODEL)     one or several of models/manifest.yaml: MODEL=\"base small\""
	@echo "  ENGINE=$(ENGINE)    auto, docker, podman or buildah"
	@echo "  ARCH=$(ARCH)         amd64 or arm64; this machine's where empty"
	@echo "  DIARIZATION=$(DIARIZATION)  none, or sortformer (x86-cuda): NeMo and its weights go in"
	@echo "  KEY=$(KEY)    the private key that signs bundles: wlk-appliance bundle keygen $(KEY)"
	@echo "  POLICY=$(POLICY)     what the models' licences must allow: any, redistributable or commercial"

appliance: setup ## fetch, bake, build, save, and show the image working with networking off
	@wlk-appliance fetch $(MODEL) --with-assets --recordings
	@wlk-appliance bake $(MODEL)
	@$(BUILD_IMAGE) --target $(TARGET)
	@wlk-appliance image save --target $(TARGET) --model $(MODEL) $(VARIANT)
	@wlk-appliance demo --target $(TARGET) --model $(MODEL) $(VARIANT)

setup: ## make .venv with the locked tools
	@scripts/setup.sh

fetch: setup ## obtain and verify what MODEL needs
	@wlk-appliance fetch $(MODEL) --with-assets --recordings

bake: setup ## make and prove the pair of MODEL
	@wlk-appliance bake $(MODEL)

image: image-$(TARGET) ## build the image of TARGET with MODEL

$(IMAGES): image-%: bake
	@$(BUILD_IMAGE) --target $*

images: setup ## show each target: base, versions, what is compiled, what is baked, expected size
	@wlk-appliance image list

kit: bake ## pack all that the build of TARGET needs under dist/, to repeat it without internet
	@wlk-appliance image kit --target $(TARGET) $(BUILD_FLAGS)

wheels: setup ## download the locked wheels of TARGET (ARCH: for another machine)
	@wlk-appliance wheels --target $(TARGET) $(VARIANT) $(if $(ARCH),--arch $(ARCH))

sources: setup ## fetch the source code that TARGET compiles
	@wlk-appliance sources --target $(TARGET)

save: image ## save that image under dist/
	@wlk-appliance image save --target $(TARGET) --model $(MODEL) $(VARIANT)

bundle: image-$(IMAGE) ## make what is carried to a site, under dist/, signed with KEY (SPLIT=3900M, SINCE=an earlier one)
	@wlk-appliance bundle create --target $(IMAGE) --model $(MODEL) $(VARIANT) --key $(KEY) \
	    $(if $(ARCH),--arch $(ARCH)) $(if $(SPLIT),--split $(SPLIT)) $(if $(SINCE),--since $(SINCE))

push: image-$(IMAGE) ## copy that image into REGISTRY=host:5000/wlk, and read it back (PUSH=: more flags, such as --insecure)
	@wlk-appliance push --registry $(or $(REGISTRY),$(error say where: REGISTRY=host:5000/wlk)) --target $(IMAGE) \
	    --model $(MODEL) $(VARIANT) $(if $(ARCH),--arch $(ARCH)) $(PUSH)

demo: setup ## run that image with networking off and stream speech through it
	@wlk-appliance demo --target $(TARGET) --model $(MODEL) $(VARIANT)

test: image ## all tests, with the real model, engine and browser
	@scripts/test_packages.sh
	@scripts/nemo.sh
	@OMP_NUM_THREADS=1 python -m pytest --durations=40 --durations-min=5 --numprocesses 3 \
		--dist loadscope --no-loadscope-reorder $(PYTEST)

check: setup ## linters, types, and the tests that need nothing
	@ruff check .
	@ruff format --check .
	@mypy
	@shellcheck --external-sources $(SHELL_SCRIPTS)
	@hadolint images/*/Dockerfile
	@$(UNIT_PYTEST) --deselect tests/scripts/test_lint.py::test_shell_scripts_pass_shellcheck $(PYTEST)

fuzz: setup ## hostile input for all that reads any; what it finds is under build/fuzz (FUZZ=: --inputs N, --target NAME)
	@wlk-appliance fetch base --with-assets --recordings
	@wlk-appliance bake base
	@scripts/nemo.sh
	@OMP_NUM_THREADS=1 python -m tests.fuzz $(FUZZ)

audit: setup ## look for known weaknesses in all locks; where nobody can be asked, it says so (DATABASE=OSV's all.zip of PyPI)
	@wlk-appliance audit $(if $(DATABASE),--database $(DATABASE))

bench: bake ## measure accuracy, latency and cost of MODEL (BENCH=: more flags, such as --noise)
	@wlk-appliance bench --model $(MODEL) $(BENCH)

soak: bake ## many clients for a long time (SOAK="--minutes 120 --clients 4"): what is lost, and what grows
	@wlk-appliance soak --model $(MODEL) $(SOAK)

lock: setup ## regenerate the requirements locks (UPGRADE=--upgrade for newer versions)
	@scripts/lock.sh $(UPGRADE)

clean: ## remove what was built here; images stay in the engine
	rm -rf build dist .venv
