#!/usr/bin/env bash
# Pin every package anew from the floors and ceilings in pyproject.toml.
set -euo pipefail
extras=(--extra dags --extra data --extra scale --extra train --extra eval --extra serve --extra dev)
flags=(--override requirements/overrides.txt --python-version 3.11 --no-header --no-annotate --upgrade
    --no-emit-index-url --no-emit-find-links)
[ -z "${PIP_FIND_LINKS:-}" ] || links=(--find-links "$PIP_FIND_LINKS")
uv pip compile pyproject.toml "${extras[@]}" --extra cpu "${flags[@]}" ${links[@]+"${links[@]}"} -o requirements/cpu.txt
uv pip compile pyproject.toml "${extras[@]}" --extra cuda "${flags[@]}" -o requirements/cuda.txt
