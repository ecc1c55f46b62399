#!/usr/bin/env bash
# Every check that needs no test run. Prints all findings; exits 1 when there is one.
set -uo pipefail
cd "$(dirname "$0")/.."

SWIFT=${SWIFT:-swift}
SCRATCH=${SCRATCH:-.build}
findings=0

finding() {
    echo "$1" >&2
    findings=1
}

"$SWIFT" format lint --strict --parallel --recursive Package.swift Sources Tests plugins || findings=1

for script in scripts/*.sh .ci/run; do
    bash -n "$script" || findings=1
done
if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run || findings=1
fi

# The files for containers, where the checkers are installed (pip install check-jsonschema; hadolint).
if command -v check-jsonschema >/dev/null; then
    check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml || findings=1
fi
if command -v hadolint >/dev/null; then
    hadolint Dockerfile || findings=1
fi

# What may not be in product code: traps that data or configuration can reach, unfinished work, unchecked claims.
sources=$(find Sources plugins -path '*/Tests/*' -prune -o -name '*.swift' -print)
# shellcheck disable=SC2086 # one word a file
while IFS= read -r line; do
    finding "$line: error: not in product code"
done < <(grep -nE '\btry!|\bfatalError\(|\b(TODO|FIXME|XXX)\b|Task\.detached' $sources)
# shellcheck disable=SC2086
while IFS= read -r line; do
    finding "$line: error: say in a comment just above why this is safe (\`// Safe: …\`)"
done < <(awk 'FNR == 1 { above = "" }
    /@unchecked Sendable|nonisolated\(unsafe\)/ && !/^ *\/\// && above !~ /\/\// { print FILENAME ":" FNR ": " $0 }
    { if ($0 !~ /^ *@|^ *$/) above = $0 }' $sources)

# The pipelines are valid, where the program has been built.
for build in release debug; do
    program=$SCRATCH/$build/dataflow
    if [ -x "$program" ]; then
        "$program" validate --format short pipelines/*.yaml pipelines/nexmark/*.yaml || findings=1
        break
    fi
done

exit $findings
