#!/usr/bin/env bash
# The bundled encoder, from nothing: models/make/encoder.sh OUT. Minutes on two cores; needs `nearmiss` on the PATH, or in
# the variable NEARMISS, and python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?the folder that is written}
nearmiss=${NEARMISS:-nearmiss}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 models/make/pairs.py data/elements "$work/data"
split=(--data "$work/data" --split train)
run() { "$nearmiss" --store "$work/store" "$@"; }
run new-encoder --data "$work/data" --out "$work/fresh" --width 96 --layers 2
run mine "${split[@]}" --source bm25,random --num-negatives 2 --out "$work/mined.jsonl"
run mix "${split[@]}" --candidates "$work/mined.jsonl" --take bm25=1,random=1 --out "$work/train.jsonl"
run train --instances "$work/train.jsonl" --encoder "$work/fresh" --epochs 8 --batch-size 64 --learning-rate 1.5e-3 --out "$out"
rm -f "$out".steps.jsonl "$out".statistics.safetensors "$out".provenance.json
