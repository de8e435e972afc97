#!/usr/bin/env bash
# Check an image before it is finished: its torch is the base's, torchaudio works, CTranslate2 holds code for the GPU.
# Usage: check_image.sh
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
# shellcheck source=images/jetson-thor/versions.env
. "$here/versions.env"

"$here/check_base.sh"
python3 - <<'END'
import torch
import torchaudio

tone = torch.sin(torch.arange(48_000) * (2 * torch.pi * 440 / 48_000))
found = torchaudio.functional.resample(tone, 48_000, 16_000)
wanted = torch.sin(torch.arange(16_000) * (2 * torch.pi * 440 / 16_000))
error = float((found - wanted)[1000:-1000].abs().max())
assert found.shape == wanted.shape and error < 0.01, f"torchaudio resamples wrongly: off by {error}"
print(f"torchaudio {torchaudio.__version__}: resamples, off by {error:.5f} at most")
END
"$here/check_ctranslate2.sh" /opt/ctranslate2/lib/libctranslate2.so "$CUDA_ARCHITECTURE"
