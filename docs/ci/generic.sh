#!/usr/bin/env bash
# Compares two revisions on this machine, for any CI: docs/ci/generic.sh BASE [HEAD], in a clone that has both.
#
#   FEDBENCH_REPORT        folder of the reports (fedbench-report)
#   FEDBENCH_OPTIONS       more options of `fedbench ab`, such as "--blocks 20 --threshold round_s=0.2"
#   FEDBENCH_NEUTRAL_EXIT  exit code where nothing could be told (0; 4 for a CI that can show it as neutral)
#
# Exits with 0 where nothing regressed, 1 where something did, else as `fedbench` does.
set -euo pipefail

if (($# < 1 || $# > 2)); then
  echo "usage: docs/ci/generic.sh BASE [HEAD]" >&2
  exit 2
fi
if ! head="$(git rev-parse --verify "${2:-HEAD}^{commit}")" || ! base="$(git merge-base "$1" "$head")"; then
  echo "fedbench: $1 and ${2:-HEAD} must both be in this clone, with the commit where they parted" >&2
  exit 2
fi
report="${FEDBENCH_REPORT:-fedbench-report}"
read -r -a options <<< "${FEDBENCH_OPTIONS:-}"

mkdir -p "$report"
rm -f "$report"/{comparison.json,comparison.html,comparison.md,junit.xml,comment.md} # of an earlier run

code=0
fedbench ab "$base" "$head" --suite check ${options[@]+"${options[@]}"} \
  --format json -o "$report/comparison.json" || code=$?

if [[ -s "$report/comparison.json" ]]; then
  for pair in html:comparison.html md:comparison.md junit:junit.xml comment:comment.md; do
    fedbench report "$report/comparison.json" --format "${pair%%:*}" -o "$report/${pair#*:}"
  done
  fedbench report "$report/comparison.json" --format text
fi

if [[ "$code" == 4 ]]; then
  echo "fedbench: inconclusive: this is neither a pass nor a failure" >&2
  exit "${FEDBENCH_NEUTRAL_EXIT:-0}"
fi
exit "$code"
