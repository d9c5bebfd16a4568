"""Once more, and what would differ; or on from where a render ended."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import RenderRow, Store
from metamusic import packs
from metamusic.errors import PackError, PictureError, SettingsError, StoreError
from metamusic.material import places
from metamusic.metadata import read_settings
from metamusic.settings import RenderSettings
from metamusic.studio.asking import submit
from metamusic.studio.library import on_disk
from metamusic.studio.opening import store_errors
from metamusic.studio.pictures import _made_by, picture_row
from metamusic.studio.presets import settings_of
from metamusic.studio.versions import JUDGE, LIBRARIES, versions

if TYPE_CHECKING:
    from metamusic.plan import ExecutionPlan

REPLAYED = ("device", "threads", "precision", "cutouts_at_once")  # of a past plan


def run_again(store: Store, render_id: int, *, submit_key: str | None = None) -> RenderRow:
    """The same song, settings, seed and execution plan once more."""
    past = render_row(store, render_id)
    return submit(store, past.song.id, settings_of(past), title=past.title, submit_key=submit_key,
                  parent_id=past.id, preset=past.preset)


@store_errors()
def continue_from(store: Store, render_id: int) -> RenderSettings:
    """The settings of a render, to go on painting at its picture (of a film: its last frame), with a new seed."""
    past = render_row(store, render_id)
    _made_by(store, render_id)
    return settings_of(past).changed(init="image", init_image=f"#{render_id}", seed=None)


@store_errors()
def settings_from(store: Store, source: Path | bytes, filename: str = "") -> RenderSettings:
    """The settings in a JSON file, or in a picture or film that MetaMusic made; SettingsError if there are none."""
    if isinstance(source, Path):
        return read_settings(source)
    with on_disk(store, source, filename or "settings") as path:
        return read_settings(path)


def what_differs(store: Store, render_id: int) -> list[str]:
    """One sentence for each thing that keeps Run again from giving the same pixels; none if nothing does."""
    past = render_row(store, render_id)
    found = [*_weights_differ(past), *judges_differ(past), *_plan_differs(past), *_libraries_differ(past),
             *_pictures_differ(store, past)]
    return found if past.song.file.is_file() else [*found, "The song's file is missing."]


def render_row(store: Store, render_id: int) -> RenderRow:
    with store_errors():
        row = store.get_render(render_id)
    if row is None:
        raise StoreError(f"There is no render {render_id}.", "It may have been made in another data folder.")
    return row


def _weights_differ(past: RenderRow) -> Iterator[str]:
    try:
        same = packs.check(past.pack).digest == past.pack_digest
    except PackError as error:
        yield str(error)
        return
    if not same:
        yield f"The weights of pack {past.pack!r} are others now."


def judges_differ(past: RenderRow) -> Iterator[str]:
    """One sentence for each judge of a render whose weights are not here any more, or others."""
    for key, digest in past.versions.items():
        if not key.startswith(JUDGE):
            continue
        name = key.removeprefix(JUDGE)
        try:
            if packs.check(name).digest[:16] != digest:
                yield f"The weights of judge {name!r} are others now."
        except PackError as error:
            yield str(error)


def _pictures_differ(store: Store, past: RenderRow) -> Iterator[str]:
    try:
        named = places(settings_of(past))
    except SettingsError as error:
        yield error.message
        return
    for digest, setting in named.items():
        try:
            picture_row(store, digest, setting)
        except PictureError as error:
            yield error.message


def _plan_differs(past: RenderRow) -> Iterator[str]:
    from metamusic.plan import plan_differences

    if past.plan is None:
        yield "How it was computed is not known: it never began."
        return
    replayed = tuple((name, past.plan[name]) for name in REPLAYED if name in past.plan)
    for difference in plan_differences(past.plan, _plan_now(replayed)):
        yield f"{difference[0].upper()}{difference[1:]}."


@cache
def _plan_now(replayed: tuple[tuple[str, Any], ...]) -> "ExecutionPlan":
    """What replaying such a plan would come to here; asking torch takes a while, so it is asked once."""
    from metamusic.plan import choose_plan

    return choose_plan(dict(replayed))


def _libraries_differ(past: RenderRow) -> Iterator[str]:
    now = versions()
    for name in LIBRARIES:
        if name in past.versions and past.versions[name] != now[name]:
            yield f"{name}: {past.versions[name]} then, {now[name]} now."
