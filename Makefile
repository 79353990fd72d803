# Every target checks what it needs and installs what is missing; `make` alone lists them.
# What they do is in scripts/, so that each can be read, checked and run by itself.

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down test bench run

# Where `make run` keeps its data, and where it listens.
DATA_DIR ?= target/data
LISTEN ?= 127.0.0.1:8080

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing, start a Docker Engine if none runs
	@scripts/setup.sh packages rust nextest axe oidc engine

demo: ## Start everything, push a commit, watch it become an image, run it
	@scripts/demo.sh

demo-down: ## End what the demo started and remove its files
	@scripts/demo-down.sh

test: ## Every check and every test
	@scripts/test.sh

bench: ## Measure
	@scripts/setup.sh packages rust engine
	cargo bench --locked --bench figures

run: ## Start the service on your own data (DATA_DIR=..., LISTEN=...)
	@scripts/setup.sh packages rust engine
	cargo run --locked --release -- serve --data-dir $(DATA_DIR) --listen $(LISTEN)
