"""Checkpoints on disk: written aside, made durable, renamed; the newest two are kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from db.files import Files
from metamusic.events import Checkpoint

KEPT = 2


@dataclass(frozen=True)
class Resume:
    """Where to go on: `state` for the engine, `frame` the next to paint, `step` the steps done."""

    state: dict[str, Any]
    frame: int
    step: int


class Checkpoints:
    """The checkpoints of one render in its work folder."""

    def __init__(self, files: Files, render_id: int) -> None:
        self._files = files
        self._folder = files.work_folder(render_id)

    def save(self, event: Checkpoint) -> None:
        """Keep a checkpoint. Raises DiskFull while there is still room for the store to say so."""
        self._files.ensure_room(0)
        values = {"state": event.state, "frame": event.frame, "step": event.step}
        name = f"checkpoint-{event.frame:08d}-{event.step:08d}.pt"
        self._files.write(self._folder / name, lambda path: torch.save(values, path))
        for old in self._paths()[KEPT:]:
            old.unlink(missing_ok=True)

    def newest_first(self) -> Iterator[Resume]:
        """Every checkpoint that can be read. Tensors and numbers only: nothing in a file is ever run."""
        for path in self._paths():
            try:
                yield Resume(**torch.load(path, map_location="cpu", weights_only=True))
            except Exception:
                continue

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("checkpoint-*.pt"), reverse=True)
