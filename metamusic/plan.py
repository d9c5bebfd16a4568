"""The execution plan: all that changes float sums without being a setting.

Threads, kernels, precision and versions decide in which order numbers are added. They are chosen once,
stored with the render and replayed by Run again; whatever cannot be replayed is named.
"""

import functools
import os
import platform
from dataclasses import asdict, dataclass
from typing import Any

from metamusic.errors import SettingsError

ENGINE_VERSION = "1"  # raised whenever the same settings would give other pixels


@dataclass(frozen=True)
class ExecutionPlan:
    """How a render is computed, and where; equal plans give equal pixels."""

    device: str
    threads: int
    precision: str
    engine: str
    torch: str
    machine: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As the store keeps it."""
        return asdict(self)


def choose_plan(replay: dict[str, Any] | None = None) -> ExecutionPlan:
    """The plan for this machine; with `replay`, a past render's choices as far as they can be had."""
    import psutil
    import torch

    device, reason = _device()
    threads = min(psutil.cpu_count(logical=False) or 1, _allowed_cores())
    if replay and replay.get("device") == device:
        threads, reason = int(replay["threads"]), "as in the render it repeats"
    return ExecutionPlan(device=device, threads=threads, precision="float32", engine=ENGINE_VERSION,
                         torch=torch.__version__, machine=machine(device), reason=reason)


def apply_plan(plan: ExecutionPlan) -> None:
    """Make the calling thread compute as the plan says."""
    import torch

    torch.set_num_threads(plan.threads)
    if plan.device.startswith("cuda"):  # CPU kernels are deterministic as they are
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else its sums have no fixed order
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def plan_differences(past: dict[str, Any], now: ExecutionPlan) -> list[str]:
    """In words, what keeps a render from giving the same pixels as one made under `past`."""
    names = {"engine": "engine version", "torch": "torch", "machine": "machine", "device": "device",
             "threads": "threads", "precision": "precision"}
    found = [f"{label}: {past.get(name)} then, {value} now" for name, label in names.items()
             if past.get(name) != (value := getattr(now, name))]
    if now.device.startswith("cuda"):  # grid_sample has no deterministic gradient there
        found.append("a GPU adds some gradients in no fixed order: pixels may differ a little")
    return found


@functools.cache
def machine(device: str = "cpu") -> str:
    """The processors and the kernels torch picks on them: what rounds the sums."""
    import torch

    card = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    return f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, {platform.system()}{card}"


def _allowed_cores() -> int:
    """How many cores this process may use; a container or taskset may allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _device() -> tuple[str, str]:
    import torch

    if named := os.environ.get("METAMUSIC_DEVICE"):
        return _checked(named), "named by METAMUSIC_DEVICE"
    if torch.cuda.is_available():
        return "cuda:0", f"the first GPU, {torch.cuda.get_device_name(0)}"
    return "cpu", "no GPU that torch can use"


def _checked(named: str) -> str:
    """A device that torch can use, or a refusal that lists those it can."""
    import torch

    usable = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    device = "cuda:0" if named == "cuda" else named
    if device not in usable:
        raise SettingsError(f"METAMUSIC_DEVICE names {named!r}, which torch cannot use here.",
                            f"Usable: {', '.join(usable)}.")
    return device
