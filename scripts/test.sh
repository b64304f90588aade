#!/usr/bin/env bash
# Everything a change must pass, in one profile (dev), so that llama.cpp and the other dependencies are built once.
# All steps run even when one fails, so that one run shows all there is to mend; the exit code is the first failure's.
# Ends with what the tests skipped and one line of counts. Call it as `make test`.
set -uo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
log=$target/test.log
: >"$log"

if [ -t 1 ]; then export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-always}; fi

failed=()
code=0
step() { # name, command...
    local name=$1 status
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee -a "$log"
    status=$?
    if [ $status -ne 0 ]; then
        failed+=("$name")
        [ $code -ne 0 ] || code=$status
    fi
}

step format cargo fmt --check -- -l
step clippy cargo clippy --all-targets -- -D warnings
step docs env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib
# Output of passing tests is shown too: a test that skips its work says so on stderr.
step tests cargo test --no-fail-fast -- --show-output
step benches cargo test --benches --no-run
step "clippy without C++" cargo clippy --all-targets --no-default-features -- -D warnings
step "tests without C++" cargo test --no-fail-fast --no-default-features -- --show-output

echo
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
fi
grep -E '^test .* \.\.\. ignored' "$log" | sort -u
skips=$(grep '^skipped:' "$log" | sort -u)
[ -z "$skips" ] || echo "$skips"
awk -v skipped="$(grep -c . <<<"$skips")" '
    /^test result:/ { for (i = 2; i <= NF; i++) { if ($i == "passed;") passed += $(i - 1); if ($i == "failed;") failed += $(i - 1) } }
    END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$log"
exit $code
