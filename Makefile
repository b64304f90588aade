# The commands of this repository; `make` alone lists them. demo, test and peers first install what is missing
# (scripts/prepare.sh; NEARMISS_NO_INSTALL=1 only prints the command). CARGO_TARGET_DIR is kept to.
SHELL := /bin/bash

.PHONY: help demo test peers fmt clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

demo: ## the whole chain on the bundled collection; GENERATOR=file.gguf writes in place of the bundled one
	@scripts/prepare.sh scripts/demo.sh

test: ## format, clippy, docs and tests, with and without the C++ parts
	@scripts/prepare.sh scripts/test.sh

peers: ## compare with PyTorch, sentence-transformers, pytrec_eval, BEIR and SciPy (installs several GB from PyPI)
	@scripts/prepare.sh scripts/peers.sh

fmt: ## format the source
	@cargo fmt

clean: ## remove build outputs and what the demo made
	@cargo clean
	@rm -rf runs/demo
