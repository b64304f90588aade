#!/usr/bin/env bash
# Runs every fuzz target, or those named, for SECONDS_EACH seconds (60): scripts/fuzz.sh [TARGET ...]
# Needs cargo-fuzz. With a stable compiler the sanitizer's flags are unlocked by RUSTC_BOOTSTRAP.
# Prints executions and the exit code of each; findings lie in fuzz/artifacts.
set -uo pipefail
cd "$(dirname "$0")/.."

export RUSTC_BOOTSTRAP=1
# Scratch files in memory, where there is such a place.
if [ -d /dev/shm ]; then export TMPDIR=/dev/shm; fi

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

cargo fuzz build --release || exit 1
failed=0
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    for seed in fuzz/seeds/"$target"*; do [ -f "$seed" ] && cp -n "$seed" "fuzz/corpus/$target/"; done
    log=$(mktemp)
    cargo fuzz run --release "$target" -- -max_total_time="${SECONDS_EACH:-60}" -rss_limit_mb=4096 -print_final_stats=1 \
        >"$log" 2>&1
    code=$?
    [ $code -eq 0 ] || failed=1
    awk -v target="$target" -v code=$code '
        /stat::number_of_executed_units/ { runs = $2 }
        / cov: / { for (i = 1; i <= NF; i++) if ($i == "cov:") cov = $(i + 1) }
        END { printf "%-9s %10d executions, %6d edges, exit %d\n", target, runs, cov, code }' "$log"
    [ $code -eq 0 ] || tail -40 "$log"
    rm -f "$log"
done
exit $failed
