"""The execution plan: all that changes float sums without being a setting.

Threads, kernels, precision and versions decide in which order numbers are added. They are chosen once,
stored with the render and replayed by Run again; whatever cannot be replayed is named.
"""

import functools
import os
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from metamusic.errors import SettingsError

if TYPE_CHECKING:
    import torch

ENGINE_VERSION = "2"  # raised whenever the same settings would give other pixels


@dataclass(frozen=True)
class ExecutionPlan:
    """How a render is computed, and where; equal plans give equal pixels.

    precision: of decoder and CLIP. cutouts_at_once: how many cutouts are judged together, 0 until
    the engine has measured what fits. The reasons are for people.
    """

    device: str
    threads: int
    precision: str
    engine: str
    torch: str
    machine: str
    reason: str
    precision_reason: str = ""
    cutouts_at_once: int = 0
    memory_reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the store keeps it."""
        return asdict(self)


def choose_plan(replay: dict[str, Any] | None = None, precision: str = "auto") -> ExecutionPlan:
    """The plan for this machine; with `replay`, a past render's choices as far as they can be had.

    precision: as in RenderSettings; SettingsError if this device cannot compute in it.
    """
    import psutil
    import torch

    device, reason = _device()
    threads = min(psutil.cpu_count(logical=False) or 1, _allowed_cores())
    chosen, why = _precision(device, precision)
    at_once, memory = 0, ""
    if replay and replay.get("device") == device:
        threads, reason = int(replay["threads"]), "as in the render it repeats"
        at_once = int(replay.get("cutouts_at_once", 0))
        memory = reason if at_once else ""
        if precision == "auto" and replay.get("precision"):
            chosen, why = str(replay["precision"]), reason
    return ExecutionPlan(device=device, threads=threads, precision=chosen, engine=ENGINE_VERSION,
                         torch=torch.__version__, machine=machine(device), reason=reason,
                         precision_reason=why, cutouts_at_once=at_once, memory_reason=memory)


def _precision(device: str, wanted: str) -> tuple[str, str]:
    """The number format and why. Half the bytes are twice the speed where the hardware has units for it."""
    import torch

    if not device.startswith("cuda"):
        if wanted == "float16":
            raise SettingsError("float16 is not for processors: most have no unit for it, and none is faster.",
                                "Choose float32 or bfloat16, or leave the precision on auto.")
        # Some processors have bfloat16 units, others take 80 times longer over it; and its rounding shows.
        return ("float32", "exact, and safe on every processor") if wanted == "auto" else (wanted, "as set")
    major, minor = torch.cuda.get_device_capability(device)
    if wanted == "bfloat16" and major < 8:
        raise SettingsError(f"{torch.cuda.get_device_name(device)} has no bfloat16 units.",
                            "Choose float16 or float32, or leave the precision on auto.")
    if wanted != "auto":
        return wanted, "as set"
    if major >= 8:
        return "bfloat16", f"compute capability {major}.{minor} has bfloat16 units, and its range needs no scaling"
    if major == 7:
        return "float16", f"compute capability {major}.{minor} has float16 units; the loss is scaled"
    return "float32", f"compute capability {major}.{minor} has no half precision units"


def narrow(device: str, precision: str) -> "torch.autocast":
    """The context in which decoder and CLIP compute in a plan's precision; none at all for float32.

    Only those two: the codebook search, where things lie in a cutout, and losses stay in float32, because what
    they decide is finer than half precision is.
    """
    import torch

    wide = precision == "float32"
    return torch.autocast(device, torch.bfloat16 if wide else getattr(torch, precision), enabled=not wide)


def apply_plan(plan: ExecutionPlan) -> None:
    """Make the calling thread compute as the plan says."""
    import torch

    torch.set_num_threads(plan.threads)
    if plan.device.startswith("cuda"):  # CPU kernels are deterministic as they are
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else its sums have no fixed order
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)


@functools.cache
def device_memory() -> int:
    """Bytes of memory that the device has which renders here: a GPU's own, or half of the machine's."""
    import psutil
    import torch

    device, _ = _device()
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total // 2)


def plan_differences(past: dict[str, Any], now: ExecutionPlan) -> list[str]:
    """In words, what keeps a render from giving the same pixels as one made under `past`."""
    names = {"engine": "engine version", "torch": "torch", "machine": "machine", "device": "device",
             "threads": "threads", "precision": "precision"}
    if past.get("cutouts_at_once") and now.cutouts_at_once:
        names["cutouts_at_once"] = "cutouts judged at a time"
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
