#!/usr/bin/env bash
# Fetch and verify OpenAI's own checkpoint (.pt) of a model: a thin name for `wlk-appliance fetch --format pt`.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/download_decoder_pt.sh NAME... [--store DIR] [--offline]

  NAME   a model, for example medium

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

exec "$program" fetch --format pt "$@"
