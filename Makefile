# Two commands do it all: `make up` and `make test`. `make help` lists the rest.

STACK ?= lab
PYTHON := .lab/venv/bin/python
export PATH := $(CURDIR)/.lab/venv/bin:$(CURDIR)/.lab/bin:$(PATH)
# what Python compiles is kept, and not beside its sources
export PYTHONPYCACHEPREFIX := $(CURDIR)/.lab/bytecode
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup testbed-setup up deploy preview preview-report state-export look show drift topology access \
    reset undo-reset apply machines down schema policies test faults lint format \
    bench-network bench-forward-delay bench-students bench-preview

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' Makefile

setup: ## what `pulumi up` on machines of your own needs
	@scripts/setup toolchain/debian-packages.txt
	@toolchain/build .lab/bin

testbed-setup:
	@scripts/setup toolchain/debian-packages.txt testbed/debian-packages.txt

up: testbed-setup ## hypervisors with guests, on the testbed; REFRESH=1
	@$(PYTHON) -m lab up --stack $(STACK) $(if $(REFRESH),--refresh)

deploy: setup ## `up` for machines of your own; APPROVED=1 OUT=dir
	@$(PYTHON) -m lab deploy --stack $(STACK) $(if $(APPROVED),--approved) $(if $(OUT),--out '$(OUT)')

preview-report: setup ## what a change does to whom; STATE= BASE= PLAN= OUT=
	@$(PYTHON) -m lab preview-report --stack $(STACK) $(if $(STATE),--state '$(STATE)') \
	    $(if $(BASE),--base '$(BASE)') $(if $(PLAN),--plan '$(PLAN)') $(if $(OUT),--out '$(OUT)')

state-export: setup ## OUT=state.json: the stack's state without secrets
	@$(PYTHON) -m lab state-export --stack $(STACK) $(if $(OUT),--out '$(OUT)')

drift: setup ## what on the hosts is not as the state has it; OUT=
	@$(PYTHON) -m lab drift --stack $(STACK) $(if $(OUT),--out '$(OUT)')

preview: testbed-setup ## what `make up REFRESH=1` would change; starts nothing
	@$(PYTHON) -m lab preview --stack $(STACK)

look: ## what `pulumi up --refresh` would do to hosts' network
	@scripts/setup toolchain/debian-packages.txt
	@$(PYTHON) -m lab look --stack $(STACK)

show: ## who is on hosts' bridges, which guests answer; JSON=1
	@scripts/setup toolchain/debian-packages.txt
	@$(PYTHON) -m lab show --stack $(STACK) $(if $(JSON),--json)

topology: ## write .lab/topology/STACK.html, a picture; LOOK=0
	@scripts/setup toolchain/debian-packages.txt
	@$(PYTHON) -m lab topology --stack $(STACK) $(if $(filter 0 no,$(LOOK)),--no-look)

access: setup ## write .lab/access/STACK: how each student logs in
	@$(PYTHON) -m lab access --stack $(STACK)

reset: testbed-setup ## STUDENT=g1s2: new, empty disks; the old ones are kept
	@$(PYTHON) -m lab reset --stack $(STACK) --student '$(STUDENT)'

undo-reset: testbed-setup ## STUDENT=g1s2: the disks of before are back
	@$(PYTHON) -m lab undo-reset --stack $(STACK) --student '$(STUDENT)'

apply: testbed-setup ## STUDENT=g1s2: reboot with an edited template or key
	@$(PYTHON) -m lab apply --stack $(STACK) --student '$(STUDENT)'

machines: testbed-setup ## only start the testbed's bare machines
	@$(PYTHON) -m lab machines --stack $(STACK)

down: testbed-setup ## end the testbed: machines, network, stacks' state
	@$(PYTHON) -m lab down --stack $(STACK)

schema: testbed-setup ## write .lab/stack.schema.json, for editors
	@$(PYTHON) -m config schema > .lab/stack.schema.json

policies: ## what is refused, and why; CONFIG=FILE
	@scripts/setup toolchain/debian-packages.txt
	@$(PYTHON) -m policies.listing $(CONFIG)

test: ## every test, beside a running `make up` too
	@scripts/setup toolchain/debian-packages.txt testbed/debian-packages.txt tests/debian-packages.txt
	@scripts/lint
	@toolchain/build .lab/bin
	@cd toolchain/libvirt && go test ./...
	@scripts/run-tests

faults: ## faults in network changes; SEED=1 ONLY='power cut'
	@scripts/setup toolchain/debian-packages.txt testbed/debian-packages.txt tests/debian-packages.txt
	@toolchain/build .lab/bin
	@$(PYTHON) -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only '$(ONLY)')

bench-network: testbed-setup ## outage of each change of a network; ROUNDS=5
	@$(PYTHON) -m bench network $(if $(ROUNDS),--rounds $(ROUNDS))

bench-forward-delay: testbed-setup ## how long a joining port waits; ROUNDS=5
	@$(PYTHON) -m bench forward-delay $(if $(ROUNDS),--rounds $(ROUNDS))

bench-students: testbed-setup ## to make and reset classes; COUNTS=1,8,40 ROUNDS=
	@$(PYTHON) -m bench students $(if $(COUNTS),--counts $(COUNTS)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-preview: setup ## a preview while all hosts are down; ROUNDS=5
	@$(PYTHON) -m bench preview $(if $(ROUNDS),--rounds $(ROUNDS))

lint: testbed-setup ## formatting, lint and types of Python, shell and Go
	@scripts/lint

format: testbed-setup ## rewrite Python and Go in the project's format
	@ruff format . && ruff check --fix . && gofmt -w toolchain
