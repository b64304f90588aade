#!/usr/bin/env bash
# The whole chain on the bundled collection: a small encoder is made from nothing, trained on random negatives until
# it can retrieve, and is then the base on which recipes/demo.toml compares kinds of hard negatives.
# GENERATOR=file.gguf lets a local model write negatives too. A second start finds what the first finished.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release
nearmiss=${CARGO_TARGET_DIR:-target}/release/nearmiss
data=data/elements
out=runs/demo

begun=$SECONDS
"$nearmiss" new-encoder --data $data --out $out/untrained
"$nearmiss" mine --data $data --split train --source random --num-negatives 1 --out $out/random.jsonl
"$nearmiss" mix --data $data --split train --candidates $out/random.jsonl --take random=1 --out $out/base.jsonl
"$nearmiss" train --instances $out/base.jsonl --encoder $out/untrained --in-batch all \
    --epochs 8 --batch-size 32 --learning-rate 1e-3 --out $out/base
"$nearmiss" run recipes/demo.toml ${GENERATOR:+--generator "$GENERATOR"} --out $out

echo
if [ -z "${GENERATOR:-}" ]; then
    echo "The arms with written negatives were left out: they need a generator (GENERATOR=file.gguf make demo)."
fi
echo "Done in $((SECONDS - begun)) s after the build. Which negatives trained the better encoder: $out/report.html"
