"""Checkpoints on disk: written aside, made durable, renamed; the newest two are kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from db.files import Files
from metamusic.events import Checkpoint
from metamusic.plan import ENGINE_VERSION

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
        values = {"state": event.state, "frame": event.frame, "step": event.step, "engine": ENGINE_VERSION}
        name = f"checkpoint-{event.frame:08d}-{event.step:08d}.pt"
        self._files.write(self._folder / name, lambda path: torch.save(values, path))
        for old in self._paths()[KEPT:]:
            old.unlink(missing_ok=True)

    def newest_first(self) -> Iterator[Resume]:
        """Every checkpoint of this engine that can be read. Tensors and numbers only: nothing in it is ever run.

        Another version's states mean other things; after an update a render begins anew.
        """
        for path in self._paths():
            try:
                values = torch.load(path, map_location="cpu", weights_only=True)
                if values.pop("engine", None) == ENGINE_VERSION:
                    yield Resume(**values)
            except Exception:
                continue

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("checkpoint-*.pt"), reverse=True)
