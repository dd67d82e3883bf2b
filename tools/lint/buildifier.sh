#!/usr/bin/env bash
# Runs buildifier on every Starlark file that git knows of, or is not told to ignore.
# Usage: buildifier.sh BUILDIFIER FLAGS...   (by bazel run: //:buildifier, //:buildifier.check)
set -euo pipefail
buildifier=$(realpath "$1")
shift
cd "${BUILD_WORKSPACE_DIRECTORY:?run this by bazel run}"
git ls-files -z --cached --others --exclude-standard -- '*.bzl' '*.bazel' 'BUILD' |
    while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done |
    xargs -0 -r "$buildifier" -lint=warn "$@"
