"""Copies between the host and a device: on an NVIDIA GPU they overlap with the computation, on a CPU nothing is copied."""

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor


class Landing:
    """Tensors on their way to the host."""

    def __init__(self, tensors: tuple[Tensor, ...], arrived: torch.cuda.Event | None) -> None:
        self.tensors, self._arrived = tensors, arrived

    def arrays(self) -> tuple[Shaped[np.ndarray, "..."], ...]:
        """The tensors as arrays; waits until all have arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return tuple(tensor.numpy() for tensor in self.tensors)


class Transfer:
    """Copies in their own streams, from and to pinned memory, which torch's allocator reuses."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._up, self._down = (torch.cuda.Stream(device) if self.pinned else None for _ in range(2))

    @property
    def pinned(self) -> bool:
        """True if buffers on the host should be pinned."""
        return self._device.type == "cuda"

    @property
    def computes_on_host(self) -> bool:
        """True if the device is the CPU, so that nothing is copied."""
        return self._device.type == "cpu"

    def up(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The tensor on the device; later computations wait for it, the host does not."""
        if self._up is None:
            return tensor.to(self._device)  # the tensor itself on a CPU; the GPU of a Mac has no pinned memory
        with torch.cuda.stream(self._up):
            moved = tensor.to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._up)
        moved.record_stream(computing)
        return moved

    def sent(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """As `up`, from memory that need not be pinned: its copy is."""
        return self.up(tensor.pin_memory() if self.pinned else tensor)

    def down(self, tensors: tuple[Tensor, ...]) -> Landing:
        """The tensors on their way to the host, after everything that computes them; the host does not wait."""
        if self._down is None:
            return Landing(tuple(tensor.cpu() for tensor in tensors), None)
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._down):
            landed = []
            for tensor in tensors:
                host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                landed.append(host.copy_(tensor, non_blocking=True))
                tensor.record_stream(self._down)
            arrived = torch.cuda.Event()
            arrived.record(self._down)
        return Landing(tuple(landed), arrived)
