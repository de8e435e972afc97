#!/usr/bin/env bash
# Fetch and verify models: a thin name for `wlk-appliance fetch`.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/download_models.sh all | NAME... [--store DIR] [--offline]

  all    every model, tokenizer and asset of models/manifest.yaml
  NAME   a model (for example base), with its tokenizer and the VAD

Folders are seen from the checkout that this script lies in. More options: wlk-appliance fetch --help
TEXT
}

case "${1-}" in
  "" | -h | --help)
    usage
    [ $# -gt 0 ] && exit 0 || exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=.venv/bin/wlk-appliance
if [ ! -x "$program" ] && ! program=$(command -v wlk-appliance); then
  echo "error: wlk-appliance is not installed" >&2
  echo "  hint: run scripts/setup.sh" >&2
  exit 1
fi

if [ "$1" = all ]; then
  shift
  exec "$program" fetch --all "$@"
fi
exec "$program" fetch --with-assets "$@"
