"""SIGNATURES ONLY (being filled in): the verbs of MetaMusic, as pages and the command line call them. No torch.

Every refusal is a MetaMusicError with .message and .cure.
"""

from dataclasses import dataclass
from pathlib import Path

from db import PresetRow, RenderRow, SongRow, Store
from metamusic.settings import RenderSettings


@dataclass(frozen=True)
class Estimate:
    """How long a render may take; `measured` when it comes from past renders of this machine."""
    seconds: float
    measured: bool


@dataclass(frozen=True)
class WorkerState:
    """Does this process render? If not, `message` says who does."""
    here: bool
    message: str


def open_store() -> Store: ...
def add_song(store: Store, source: Path | bytes, filename: str = "") -> SongRow: """SongError when it cannot be used."""
def demo_song(store: Store) -> SongRow: ...
def analysis(store: Store, song_id: int): """metamusic.song.Analysis: beats, loudness, peaks; computed once (seconds), then from the row."""
def submit(store: Store, song: int | Path, settings: RenderSettings, *, title: str = "", submit_key: str | None = None,
           parent_id: int | None = None, preset: str | None = None, filename: str = "") -> RenderRow: ...
def settings_of(render: RenderRow | PresetRow) -> RenderSettings: """SettingsError when from a newer version."""
def run_again(store: Store, render_id: int, *, submit_key: str | None = None) -> RenderRow: ...
def what_differs(store: Store, render_id: int) -> list[str]: """Sentences on what differs now; empty = the same pixels."""
def estimate(store: Store, settings: RenderSettings, song_s: float) -> Estimate: ...
def presets(store: Store) -> dict[str, RenderSettings]: """Draft, Standard, Fine, then the team's (readable ones)."""
def save_preset(store: Store, name: str, settings: RenderSettings) -> PresetRow: ...
def delete_preset(store: Store, name: str) -> None: ...
def cancel(store: Store, render_id: int) -> RenderRow: ...
def continue_render(store: Store, render_id: int) -> RenderRow: ...
def trash(store: Store, render_id: int) -> RenderRow: ...
def restore(store: Store, render_id: int) -> RenderRow: ...
def start_worker(store: Store) -> WorkerState: """Once per process however often it is called; cheap."""
