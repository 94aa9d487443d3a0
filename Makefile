# Two commands do it all: `make up` and `make test`. `make help` lists the rest.

STACK ?= lab
PYTHON := .lab/venv/bin/python
export PATH := $(CURDIR)/.lab/venv/bin:$(CURDIR)/.lab/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup up preview down machines schema test lint format

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing: Debian packages, Python packages, the engine
	@scripts/setup

up: setup ## the stack file's machines become hypervisors with guests, on the testbed
	@$(PYTHON) -m lab up --stack $(STACK)

preview: setup ## what `make up` would change; contacts no host
	@$(PYTHON) -m lab preview --stack $(STACK)

machines: setup ## only start the testbed's bare machines, to look at them first
	@$(PYTHON) -m lab machines --stack $(STACK)

down: setup ## end the testbed: machines, network, this stack's state
	@$(PYTHON) -m lab down --stack $(STACK)

schema: setup ## write .lab/stack.schema.json, for editors
	@$(PYTHON) -m config schema > .lab/stack.schema.json

test: ## every test, beside a running `make up` too
	@scripts/setup tests/debian-packages.txt
	@scripts/lint
	@toolchain/build .lab/bin
	@cd toolchain/libvirt && go test ./...
	@$(PYTHON) -m pytest

lint: setup ## formatting, lint and types of Python, shell and Go
	@scripts/lint

format: setup ## rewrite Python and Go in the project's format
	@ruff format . && ruff check --fix . && gofmt -w toolchain
