# dataflow. `make help` lists the targets and the variables.

SWIFT ?= swift
# Where the products go; `make test` and `make demo` share it.
SCRATCH ?= .build
# The compiler holds the layering of Package.swift: a module is imported only where its target declares it.
CHECKS = --explicit-target-dependency-import-check error
# Release builds have the Swift runtime inside, and no run-time checks for overlapping access to a variable: those are on
# in debug builds, which the tests are.
RELEASE = -c release --static-swift-stdlib -Xswiftc -enforce-exclusivity=unchecked

export SWIFT SCRATCH CHECKS RELEASE

.DEFAULT_GOAL := help
.PHONY: help bootstrap build demo test soak bench docs format lint clean

help: ## this list
	@echo 'make TARGET [VARIABLE=value…]'
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo 'Variables'
	@sed -n 's/^#: /  /p' $(MAKEFILE_LIST) $(wildcard scripts/*.sh)

#: SWIFT=swift            the Swift command
#: SCRATCH=.build         the build folder

bootstrap: ## install the Debian packages that are missing
	@scripts/bootstrap.sh

build: bootstrap ## the release products: dataflow and openfood-api
	$(SWIFT) build $(RELEASE) --scratch-path $(SCRATCH) $(CHECKS)

demo: ## Open Food Facts from the stand-in API into a private PostgreSQL, and the tables it gives
	@scripts/demo.sh

test: ## every test, end to end included, with a private PostgreSQL and Kafka broker
	@scripts/test.sh

soak: ## the long forms of the tests, and the runtime under the thread sanitizer
	@scripts/test.sh soak

bench: ## w1 to w3 beside other systems, the flagship, start, latency, instruction counts; answers checked
	@scripts/bench.sh

docs: ## write the generated pages below docs/ anew
	$(SWIFT) run --scratch-path $(SCRATCH) dataflow list --write docs

format: ## rewrite the sources in the house format
	$(SWIFT) format --in-place --parallel --recursive Package.swift Sources Tests plugins

lint: ## format, scripts, pipelines and texts; changes nothing
	@scripts/lint.sh

clean: ## delete what was built; stops the private servers
	@for folder in .dataflow/demo-postgres .dataflow/test-postgres; do \
	    [ ! -d $$folder ] || scripts/postgres.sh remove $$folder; done
	@[ ! -d .dataflow/test-kafka ] || scripts/kafka.sh remove .dataflow/test-kafka
	rm -rf $(SCRATCH) .build-tsan .dataflow
