#!/usr/bin/env bash
# The main job on the bundled collection, offline: an encoder trained from scratch, then the experiment that says
# which negatives train it further, ending with a report. GENERATOR=FILE.gguf writes in place of the bundled generator.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release
nearmiss="${CARGO_TARGET_DIR:-target}/release/nearmiss"
out=runs/demo
mkdir -p "$out"
started=$SECONDS

echo "1. a small BERT from random weights, its vocabulary from the corpus" >&2
"$nearmiss" new-encoder --data data/elements --out "$out/untrained" --width 128 --layers 2 --max-length 128

echo "2. trained from scratch on the training queries, each with one random passage and the batch's other passages against it" >&2
"$nearmiss" mine --data data/elements --split train --source random --num-negatives 1 --out "$out/random.jsonl"
"$nearmiss" mix --data data/elements --split train --candidates "$out/random.jsonl" --take random=1 --out "$out/base.jsonl"
"$nearmiss" train --instances "$out/base.jsonl" --encoder "$out/untrained" --out "$out/base" \
    --epochs 10 --batch-size 32 --learning-rate 2e-3

echo "3. the experiment: which negatives train it further?" >&2
"$nearmiss" run recipes/demo.toml ${GENERATOR:+--generator "$GENERATOR"}

echo "Done in $((SECONDS - started)) s. Open $out/report.html" >&2
