"""`python -m metamusic packs ...`: what weights are here, and how others come here."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from metamusic.errors import PackError

if TYPE_CHECKING:
    from metamusic.shelf import ShelfItem

app = typer.Typer(name="packs", add_completion=False, rich_markup_mode=None, invoke_without_command=True,
                  help="The packs of weights: what is here, and how others come here.")
_terminal = Console(stderr=True, highlight=False, soft_wrap=True)

USUAL_CLIP = "ViT-B-32-quickgelu"

Name = Annotated[str, typer.Argument(help="The pack's name, as `packs list` gives it.")]


@app.callback()
def packs(context: typer.Context) -> None:
    """Without a command: `list`."""
    if context.invoked_subcommand is None:
        list_packs(as_json=False)


@app.command("list")
def list_packs(
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")] = False,
) -> None:
    """Everything that is here or could be: state, size, memory, licence."""
    from metamusic import shelf

    items = shelf.items()
    if as_json:
        print(json.dumps([asdict(item) for item in items], indent=2))
        return
    for item in items:
        state = f"{item.state} at {item.progress:.0%}" if item.state in ("paused", "downloading") else item.state
        about = "about " if item.about else ""
        print(f"{item.name}\t{state}\t{about}{_size(item.bytes)}\t{_size(item.memory)} in use\t{item.title}\t"
              f"{item.licence}")
        for more in (item.asserted, f"{item.error} {item.cure}".strip()):
            if more:
                print(f"\t{more}")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


@app.command()
def get(name: Name,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask before downloading.")] = False) -> None:
    """Fetch a pack of the catalogue; goes on where it was interrupted."""
    from metamusic import shelf

    item = shelf.item(name)
    if item.state == "ready":
        _terminal.print(f"{name} is here already.", markup=False)
        return
    if not item.listed:
        raise PackError(f"{name!r} is not in the catalogue.", item.cure or "See `python -m metamusic packs list`.")
    if not yes:
        _ask(item)
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
                  TimeRemainingColumn(), console=_terminal, transient=True, disable=not _terminal.is_terminal) as bar:
        task = bar.add_task("beginning", total=item.bytes)
        shelf.fetch(name, on_progress=lambda doing: bar.update(
            task, description=doing.stage, completed=int(doing.progress * item.bytes)))
    print(f"{name} is ready.")


def _ask(item: "ShelfItem") -> None:
    """Say what will come and under which licence, and wait for a yes."""
    about = "about " if item.about else ""
    question = f"Fetch {about}{_size(item.bytes)}? Licences: {item.licence}"
    if not sys.stdin.isatty():
        raise PackError(f"{question} Nobody is there to answer.", "Say --yes.")
    typer.confirm(question, abort=True)


@app.command()
def verify(name: Name) -> None:
    """Read every byte of a pack again and compare."""
    from metamusic import shelf

    print(shelf.verify(name))


@app.command()
def remove(name: Name) -> None:
    """Remove a pack, and what has come of its files."""
    from metamusic import shelf

    shelf.remove(name)
    print(f"{name} is removed.")


@app.command("import")
def import_(
    path: Annotated[Path | None, typer.Argument(help="A file of weights or a folder with some: recognised by "
                                                     "content, it completes packs of the catalogue.")] = None,
    chosen: Annotated[str, typer.Option("--as", help="What it is, where its content leaves that open.")] = "",
    name: Annotated[str, typer.Option(help="Make a pack of this name from the files below.")] = "",
    vqgan_config: Annotated[Path | None, typer.Option(help="The VQGAN's configuration (.yaml).")] = None,
    vqgan: Annotated[Path | None, typer.Option(help="The VQGAN's checkpoint (.ckpt).")] = None,
    clip: Annotated[Path | None, typer.Option(help="The CLIP.")] = None,
    wav2clip: Annotated[Path | None, typer.Option(help="The audio encoder that was made for that CLIP.")] = None,
    clip_model: Annotated[str, typer.Option(help="Which CLIP it is, as open_clip calls it; by default "
                                                 f"{USUAL_CLIP}.")] = "",
    space: Annotated[str, typer.Option(help="The space they share, by default that of the CLIP.")] = "",
    title: Annotated[str, typer.Option(help="What pages call it.")] = "",
    licence: Annotated[str, typer.Option(help="Under which licence you have it.")] = "",
) -> None:
    """Bring weights that you have: of the catalogue (PATH), or others (--name and the files)."""
    if bool(name) == (path is not None):
        raise PackError("`packs import` takes either a path, or --name with the files of a new pack.",
                        "See `python -m metamusic packs import --help`.")
    if path is not None:
        _refuse_beside("a path", {"--vqgan-config": vqgan_config, "--vqgan": vqgan, "--clip": clip, "--title": title,
                                  "--wav2clip": wav2clip, "--clip-model": clip_model, "--space": space,
                                  "--licence": licence})
        _bring(path, chosen)
        return
    from metamusic.conversion import UNKNOWN_LICENCE, import_pack

    _refuse_beside("--name", {"--as": chosen})
    info = import_pack(name, vqgan_config=vqgan_config, vqgan=vqgan, clip=clip, wav2clip=wav2clip,
                       clip_model=clip_model or USUAL_CLIP, space=space or None, title=title,
                       licence=licence or UNKNOWN_LICENCE)
    print(f"{info.name} is ready, space {info.space}.")


def _refuse_beside(what: str, options: dict[str, Path | str | None]) -> None:
    """PackError for options that would do nothing beside another."""
    if given := [option for option, value in options.items() if value]:
        raise PackError(f"{', '.join(given)} would do nothing beside {what}.",
                        "A path is recognised by its content; --name makes a pack of the files named with it.")


def _bring(path: Path, chosen: str) -> None:
    from metamusic import shelf

    brought = shelf.bring([path], chosen=chosen)
    for sentence in brought.said:
        print(sentence)
    if brought.undecided:
        _terminal.print(f"To say which it is: {' or '.join(f'--as {name}' for name in brought.undecided)}.",
                        markup=False)
    if brought.refused:
        raise PackError(" ".join(brought.refused))
