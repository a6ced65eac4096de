"""Half precision on GPUs that compute in it."""

from contextlib import AbstractContextManager

import torch


def half_precision(device: torch.device) -> AbstractContextManager[None]:
    """Autocast to bfloat16 on a GPU with it in hardware (Ampere and later); float32 elsewhere.

    bfloat16 has float32's range: no loss scaling and no skipped steps. Older GPUs compute in float32 rather than in
    float16, whose range would need both; the decoder is small enough. On a CPU results must not depend on its kind.
    """
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
