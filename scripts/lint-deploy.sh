#!/usr/bin/env bash
# Lints the Containerfile and examples/deploy with the tools that others will run them through. What a machine lacks is passed over, by name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy=examples/deploy
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# lint TOOL WHAT COMMAND...: runs it where the tool is there.
lint() {
  local tool=$1 what=$2
  shift 2
  if ! command -v "$tool" >/dev/null 2>&1; then
    printf '%s: not linted, %s is not on this machine\n' "$what" "$tool"
    return 0
  fi
  "$@" >"$work/out" 2>&1 || {
    cat "$work/out"
    printf '%s: %s refuses it\n' "$what" "$tool" >&2
    return 1
  }
  printf '%s: %s finds nothing\n' "$what" "$tool"
}

yaml='{extends: default, rules: {line-length: {max: 160}, document-start: disable, braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}, octal-values: disable}}'

lint hadolint "Containerfile" hadolint Containerfile
lint yamllint "examples/deploy" yamllint --strict -d "$yaml" "$deploy"
for file in "$deploy"/kubernetes/[!k]*.yaml; do
  # The configuration of tidegate itself is checked by a test.
  [ "${file##*/}" = tidegate.yaml ] || lint kubernetes-validate "$file" kubernetes-validate --strict "$file"
done
lint promtool "$deploy/prometheus" promtool check rules "$deploy"/prometheus/*.yaml

# systemd looks for the program, which this machine need not have.
sed 's#^ExecStart=/usr/local/bin/tidegate#ExecStart=/bin/true#' "$deploy/systemd/tidegate.service" >"$work/tidegate.service"
# A key that it does not know is only a warning to it.
verify() { systemd-analyze verify --man=no "$1" 2>&1 | tee "$work/said" && ! [ -s "$work/said" ]; }
lint systemd-analyze "$deploy/systemd: unit" verify "$work/tidegate.service"
# 0 is none of a system, 10 all of it.
lint systemd-analyze "$deploy/systemd: sandbox" systemd-analyze security --no-pager --offline=yes --threshold=20 "$work/tidegate.service"
