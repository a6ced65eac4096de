"""Half precision on GPUs that support it."""

from contextlib import AbstractContextManager

import torch


def half_precision(device: torch.device) -> AbstractContextManager[None]:
    """Autocast to bfloat16 on GPUs with hardware support for it (Ampere and later); float32 on all other devices.

    bfloat16 has the range of float32, so that no loss scaling and no skipped steps are needed. Older GPUs use float32,
    because float16 would need both and the decoder is small. On a CPU, results must not depend on its type.
    """
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
