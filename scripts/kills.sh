#!/usr/bin/env bash
# Kills a run of the generator at NEARMISS_KILLS (20) random moments, with one slot and with four, and compares what
# was written with an uninterrupted run: scripts/kills.sh. Needs ../shared (or NEARMISS_SHARED) for its model.
set -euo pipefail
cd "$(dirname "$0")/.."
NEARMISS_KILLS=${NEARMISS_KILLS:-20} cargo test --test generation -- --show-output
