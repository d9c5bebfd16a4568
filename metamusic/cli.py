"""The command line: the same verbs as the pages, with flags derived from RenderSettings.

A user's mistake ends with status 2 and one sentence that names the culprit; an interrupt with 130.
"""

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from metamusic import cli_packs
from metamusic.errors import MetaMusicError, SettingsError
from metamusic.events import Event, Started, Step
from metamusic.settings import BUILT_IN_PRESETS, Knob, RenderSettings, knobs

app = typer.Typer(name="metamusic", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                  pretty_exceptions_enable=False,
                  help="A song becomes a picture or a music video. `make app` opens the same in a browser.")
train_app = typer.Typer(no_args_is_help=True, help="Train the weights that this project makes itself.")
app.add_typer(train_app, name="train")
app.add_typer(cli_packs.app, name="packs")
complain = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; every MetaMusicError becomes one sentence and status 2."""
    try:
        app()
    except MetaMusicError as error:
        complain.print(f"metamusic: {error}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        complain.print("metamusic: interrupted.", markup=False)
        sys.exit(130)


# -- rendering ----------------------------------------------------------------------------------------


def _flag(knob: Knob) -> inspect.Parameter:
    """A setting as an option: `--learning-rate 0.04`, None unless given."""
    kind: Any = str if knob.type is tuple else knob.type
    unit = f" [{knob.unit}]" if knob.unit else ""
    choices = f" One of: {', '.join(knob.choices)}." if knob.choices else ""
    default = "empty" if knob.default is None else \
        ",".join(knob.default) if knob.type is tuple else knob.default
    option = typer.Option(f"--{knob.name.replace('_', '-')}", rich_help_panel=knob.group,
                          help=f"{knob.help}{choices}{unit} Default: {default}.", show_default=False)
    return inspect.Parameter(knob.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                             annotation=Annotated[kind | None, option])


def _with_settings(kind: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one flag for every setting of its kind; they arrive as `flags`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        flags = [_flag(knob) for knob in knobs() if kind in knob.kinds and knob.name != "kind"]
        command.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
        return command

    return decorate


SongArgument = Annotated[Path, typer.Argument(help="Any file with sound: mp3, wav, flac, ogg, m4a, mp4 ...")]
Settings = Annotated[Path | None, typer.Option(
    "--settings", help="Settings as JSON, or a picture or film of MetaMusic that carries them; flags win over it.")]
Preset = Annotated[str | None, typer.Option("--preset", help=f"{', '.join(BUILT_IN_PRESETS)}, or one of the team's.")]
Keep = Annotated[bool, typer.Option("--keep/--no-keep", help="Keep the render in the store, as the pages do.")]
Sidecar = Annotated[bool, typer.Option("--sidecar/--no-sidecar",
                                       help="Write settings and record beside the output, too, as JSON.")]


@app.command()
@_with_settings("image")
def image(song: SongArgument,
          output: Annotated[Path, typer.Option("-o", "--output", help="Where the PNG or JPEG goes.")],
          settings: Settings = None, preset: Preset = None, keep: Keep = True, sidecar: Sidecar = False,
          **flags: Any) -> None:
    """Paint one picture of a song."""
    _render(song, output, gather_settings("image", settings, preset, flags), keep, sidecar, settings)


@app.command()
@_with_settings("video")
def video(song: SongArgument,
          output: Annotated[Path, typer.Option("-o", "--output", help="Where the MP4 goes.")],
          settings: Settings = None, preset: Preset = None, keep: Keep = True, sidecar: Sidecar = False,
          **flags: Any) -> None:
    """Paint a music video of a song, with its sound."""
    _render(song, output, gather_settings("video", settings, preset, flags), keep, sidecar, settings)


def gather_settings(kind: str, file: Path | None, preset: str | None, flags: dict[str, Any]) -> RenderSettings:
    """What suits the pack, then the preset, then the file, then the flags; later ones win."""
    from metamusic import studio
    from metamusic.metadata import read_settings

    values = studio.layered(
        _preset(preset) if preset is not None else {},
        read_settings(file).model_dump(exclude_unset=True) if file is not None else {},
        {name: value for name, value in flags.items() if value is not None})
    return RenderSettings.parse({**values, "kind": kind})


def _preset(name: str) -> dict[str, Any]:
    from metamusic import studio

    store = studio.open_store()
    if refusal := studio.unreadable_presets(store).get(name):
        raise refusal
    known = studio.presets(store)
    if name not in known:
        raise SettingsError(f"There is no preset {name!r}.", f"Known presets: {', '.join(known)}.")
    return known[name].model_dump(exclude_unset=True)


def _render(song: Path, output: Path, settings: RenderSettings, keep: bool, sidecar: bool,
            settings_file: Path | None) -> None:
    from metamusic import api

    with ProgressBar() as bar:
        result = api.generate(song, output, settings, keep, bar, sidecar, settings_file)
    for note in result.notes:
        complain.print(f"note: {note}", markup=False)
    kept = f", kept as render {result.render_id}" if result.render_id else ""
    complain.print(f"{result.path} (seed {result.settings.seed}, {result.seconds:.0f} s{kept})", markup=False)


class ProgressBar:
    """A bar with the time left, on standard error; listens to events."""

    def __init__(self) -> None:
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                  TimeRemainingColumn(), console=complain, transient=True)
        self._task = self._progress.add_task("listening", total=None)

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._progress.update(self._task, total=event.steps, description="painting")
        elif isinstance(event, Step):
            self._progress.update(self._task, completed=event.step)


@app.command()
def worker() -> None:
    """Render what is queued, beside the server or without one, until interrupted."""
    from metamusic import studio
    from metamusic.worker import serve

    serve(studio.open_store())


# -- everything else ----------------------------------------------------------------------------------


@app.command("settings")
def print_settings(
    preset: Preset = None,
    source: Annotated[Path | None, typer.Option(
        "--from", help="A picture or film of MetaMusic, its sidecar, or JSON of settings.")] = None,
) -> None:
    """Print every setting with its default (or as a preset or a file has it) as JSON."""
    from metamusic.metadata import read_settings

    if preset and source:
        raise SettingsError("Settings come from a preset or from a file, not from both.", "Leave one of them out.")
    chosen = read_settings(source) if source else RenderSettings.parse(_preset(preset) if preset else {})
    print(json.dumps(json.loads(chosen.to_json()), indent=2))


@app.command()
def evaluate(pack: Annotated[str, typer.Argument(help="The pack to measure.")] = "sketch",
             as_json: Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")] = False) -> None:
    """Measure a pack's VQGAN and its joint space on pictures and music never trained on."""
    from metamusic.sketch.evaluate import evaluate as measure

    figures = measure(pack)
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>16}  {value:.3f}")


@train_app.command("sketch")
def train_sketch(
    seed: Annotated[int, typer.Option(help="Of the weights, the batches and the bank.")] = 0,
    minutes: Annotated[float, typer.Option(min=1, help="How long in all; resumes where it stopped.")] = 180.0,
) -> None:
    """Train the sketch pack from nothing: draw, play, train, export, report its figures."""
    from metamusic.sketch.train import main as train

    train(minutes=minutes, seed=seed)
