"""Memory: how many cutouts may be judged at a time, found by measuring before anything runs out.

What a network keeps for the way back is counted by autograd's own hooks, on one cutout and on one small
decode; it grows in proportion with cutouts and pixels. What is free is asked of the device.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from torch import Tensor

from metamusic.canvas import Canvas
from metamusic.errors import SettingsError
from metamusic.judges import Judge
from metamusic.plan import narrow

SHARE = 0.8  # of what is free: workspaces and other programs want some as well
WORKSPACE = 1.5  # what kernels need beyond what is kept
PROBE_CELLS = 8  # latent cells along a side of the decode that is measured
# CUDA's, its libraries', torch's on a processor, and oneDNN's, which does not say why it cannot.
_CRIES = ("out of memory", "ALLOC_FAILED", "allocate memory", "not enough memory", "could not create a primitive",
          "could not create a memory object")
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Free memory of a device: a GPU's own, or the machine's within what this process's group may use."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # a container may have less than its machine
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        kept = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(kept.get("inactive_file", "0")))  # the kernel gives those back
    return free


def cutouts_that_fit(cutouts: int, canvas: Canvas, height: int, width: int, jury: Sequence[Judge],
                     precision: str = "float32", free: int | None = None) -> tuple[int, str]:
    """How many of `cutouts` to judge at a time, and why; SettingsError where not even the decoder fits.

    free: bytes, as `available_bytes` counts them unless given.
    """
    free = available_bytes(canvas.device) if free is None else free
    with narrow(canvas.device.type, precision):
        decode, each = decode_bytes(canvas, height, width), max(cutout_bytes(judge) for judge in jury)
    # The cutouts themselves and their slopes stay while they are judged chunk by chunk.
    pixels = max(3 * judge.perceptor.input_size**2 for judge in jury) * 4 * 6
    room = free * SHARE - decode - cutouts * pixels
    if decode > free:
        raise SettingsError(
            f"Painting {width} x {height} needs about {_gigabytes(decode)} of memory; {_gigabytes(free)} are free "
            f"on {canvas.device}.", "Choose a smaller picture, or close other programs.")
    fit = max(1, min(cutouts, math.floor(room / max(1, each))))
    if fit == cutouts:
        return cutouts, "all at once: they fit"
    return fit, (f"a cutout keeps about {_gigabytes(each)}, the decoder {_gigabytes(decode)}; "
                 f"{_gigabytes(free)} are free")


def cutout_bytes(judge: Judge) -> int:
    """What a judge keeps of one cutout for the way back, in bytes."""
    size = judge.perceptor.input_size
    image = torch.zeros(1, 3, size, size, device=judge.perceptor.mean.device, requires_grad=True)
    return int(WORKSPACE * _kept(lambda: judge.perceptor.embed_images(image)))


def decode_bytes(canvas: Canvas, height: int, width: int) -> int:
    """What a decode of height x width keeps for the way back, in bytes; measured small and enlarged."""
    high, wide = min(PROBE_CELLS, height // canvas.cell), min(PROBE_CELLS, width // canvas.cell)
    latent = torch.zeros(1, canvas.channels, high, wide, device=canvas.device, requires_grad=True)
    small = _kept(lambda: canvas.show(latent))
    return int(WORKSPACE * small * (height * width) / (high * wide * canvas.cell**2))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    return (isinstance(error, MemoryError | torch.OutOfMemoryError)
            or isinstance(error, RuntimeError) and any(cry in str(error) for cry in _CRIES))


def _kept(forward: Callable[[], Tensor]) -> int:
    """Bytes of the distinct tensors that autograd saves during a forward pass; weights are not counted."""
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not tensor.is_leaf or tensor.requires_grad:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    del result
    return sum(saved.values())


def _gigabytes(count: float) -> str:
    return f"{count / 2**30:.2g} GB"
