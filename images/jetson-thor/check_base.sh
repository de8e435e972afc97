#!/usr/bin/env bash
# Check that the base holds the torch that versions.env and bases.tsv expect, before anything is compiled.
# Usage: check_base.sh
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=images/jetson-thor/versions.env
. ./versions.env

die() {
    echo "error: $1" >&2
    echo "  hint: $2" >&2
    exit 1
}

row="$(awk -F '\t' -v tag="$BASE_TAG" '$1 == tag' bases.tsv)"
[ -n "$row" ] || die "bases.tsv has no row for $BASE_TAG" "add one, with the torch that the image holds"
IFS=$'\t' read -r _ torch cuda torchaudio commit <<<"$row"
if [ "$torchaudio" != wheel ]; then
    [ "$torchaudio $commit" = "$TORCHAUDIO_VERSION $TORCHAUDIO_COMMIT" ] ||
        die "versions.env names torchaudio $TORCHAUDIO_VERSION ($TORCHAUDIO_COMMIT), bases.tsv $torchaudio ($commit)" \
            "make both the same: $BASE_TAG goes with torchaudio $torchaudio"
fi
found="$(python3 -c 'import torch; print(torch.__version__, torch.version.cuda)')"
case "$found" in
    "$torch"*" $cuda"*) ;;
    *) die "the base holds torch $found, and bases.tsv says $torch with CUDA $cuda for $BASE_TAG" \
        "name the image that belongs to $BASE_TAG in the Dockerfile, or mend bases.tsv" ;;
esac
echo "base: torch $found, as expected for $BASE_TAG"
