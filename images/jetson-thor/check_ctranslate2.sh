#!/usr/bin/env bash
# Check that the library holds machine code for a GPU architecture.
# Usage: check_ctranslate2.sh LIBRARY ARCHITECTURE
set -euo pipefail
library="$1"
architecture="$2"
found="$(cuobjdump --list-elf "$library" | grep -c "sm_$architecture" || true)"
if [ "$found" = 0 ]; then
    echo "error: $library holds no code for sm_$architecture" >&2
    echo "  hint: cuobjdump --list-elf $library" >&2
    exit 1
fi
echo "CTranslate2: $found objects for sm_$architecture"
