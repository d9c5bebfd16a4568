"""What a render was made with: MetaMusic, its commit, the libraries and packs that can change a picture."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import metamusic
from metamusic import packs
from metamusic.errors import SettingsError
from metamusic.phrases import parse_weighted
from metamusic.settings import CHECKOUT, RenderSettings

# What besides torch can change a picture: who decodes, listens, turns and looks.
LIBRARIES = ("numpy", "librosa", "kornia", "open_clip_torch", "wav2clip", "imageio-ffmpeg")
JUDGE = "judge "  # what the versions of a render call the packs that look on, before their names
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@cache
def _installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def versions(settings: RenderSettings | None = None) -> dict[str, str]:
    """MetaMusic's version and commit, and those of the libraries that can change a picture (torch is in the plan).

    With settings, also which weights their judges have: "judge NAME" -> beginning of its digest.
    """
    judges = {f"{JUDGE}{info.name}": info.digest[:16] for info in judge_packs(settings)} if settings else {}
    return {"metamusic": metamusic.__version__, "commit": _commit(),
            **{name: _installed(name) for name in LIBRARIES}, **judges}


@cache
def _commit() -> str:
    """The git commit of the checkout this runs from, "" if it is none."""
    return commit_of(CHECKOUT)


def commit_of(checkout: Path) -> str:
    """The commit that is checked out in a folder, as git's own files tell; "" where they do not."""
    try:
        folder = checkout / ".git"
        if folder.is_file():  # a worktree, or a submodule: its git folder lies elsewhere
            folder = checkout / folder.read_text().partition("gitdir:")[2].strip()
        head = (folder / "HEAD").read_text().strip()
        return head if _COMMIT.fullmatch(head) else _commit_at(folder, head.removeprefix("ref: "))
    except (OSError, UnicodeDecodeError):
        return ""


def _commit_at(folder: Path, ref: str) -> str:
    """Where a branch stands. Worktrees share branches; old ones are packed into one file."""
    shared = folder / "commondir"
    folder = folder / shared.read_text().strip() if shared.is_file() else folder
    if (folder / ref).is_file():
        lines = [(folder / ref).read_text().strip()]
    else:
        lines = [line.split()[0] for line in (folder / "packed-refs").read_text().splitlines()
                 if line.endswith(f" {ref}")]
    return next((line for line in lines if _COMMIT.fullmatch(line)), "")


def judge_packs(settings: RenderSettings) -> list[packs.PackInfo]:
    """The packs that look on as well, checked; the render's own pack may be named to change its weight."""
    names = [name for name, _ in parse_weighted(settings.judges, "judge")]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"The judge {twice[0]!r} is named twice.", "Name it once, with the weight you want.")
    return [packs.check(name) for name in names if name != settings.pack]
