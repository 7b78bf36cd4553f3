#!/usr/bin/env bash
# Build the virtual environment from pinned requirements: setup.sh cpu|cuda VENV
# Safe to interrupt and repeat: the stamp that make looks for is written last.
set -euo pipefail
accel=${1:?usage: setup.sh cpu|cuda VENV}; venv=${2:?usage: setup.sh cpu|cuda VENV}
start=$SECONDS
python=$(command -v "${PYTHON:-python3.11}" || command -v python3 || true)
[ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "Thumbwheel needs Python 3.11: install it, or name it with 'make PYTHON=/path/to/python3.11 …'." >&2; exit 2; }
"$venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

# PyTorch: local wheels where PIP_FIND_LINKS names a folder of them, else PyTorch's own index for this accelerator.
if [ -n "${PIP_FIND_LINKS:-}" ] && compgen -G "$PIP_FIND_LINKS/torch-*.whl" >/dev/null; then torch=(--find-links "$PIP_FIND_LINKS")
elif [ "$accel" = cpu ]; then torch=(--torch-backend cpu)
else torch=(--torch-backend auto); fi

echo "Installing $(grep -c == "requirements/$accel.txt") pinned packages into $venv …"
VIRTUAL_ENV=$venv "$venv/bin/uv" pip install --quiet --compile-bytecode --override requirements/overrides.txt \
    "${torch[@]}" --requirement "requirements/$accel.txt"
VIRTUAL_ENV=$venv "$venv/bin/uv" pip install --quiet --no-deps --editable .
# Kernels of the data stages, compiled once for this machine, so that no stage waits for it.
THUMBWHEEL_LOG=WARNING "$venv/bin/python" -m stages.kernels
THUMBWHEEL_LOG=WARNING "$venv/bin/python" -m stages.quality.heuristics
touch "$venv/.ready-$accel"
echo "Set up in $((SECONDS - start)) s; $venv takes $(du -sh "$venv" | cut -f1)."
