"""Pictures in the form: a place to drop them, and each one as a thumbnail with its weight.

The form keeps a line of references, as the command line takes it: a digest of the store, or #7 for render 7.
"""

import base64
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import effects, fields, form, header, media, numbers, problem, store, words

if TYPE_CHECKING:
    from db import RenderRow

TYPES = ["image", "video"]  # what the file dialogue offers; the store decides. Of a film, its last frame
LARGEST_MB = 100
RECENT = 60  # how many renders back one can take
TITLES = {"image_prompts": "Pictures to resemble", "target": "One picture to come close to, pixel by pixel",
          "init_image": "Begin with a picture"}


def draw_many(name: str) -> None:
    """Any number of pictures, each with a weight."""
    _title(name)
    try:
        specs = studio.prompts_of(form.values()[name])
    except MetaMusicError as error:  # written by hand, in Advanced
        problem.show(error.message, error.cure)
        fields.draw(name)
        return
    for place, spec in enumerate(specs):
        _draw_prompt(name, place, spec)
    _draw_sources(name, several=True)
    if specs and st.session_state.get("form_advanced"):
        fields.draw(name, label="The same as text")


def draw_one(name: str) -> None:
    """One picture or none."""
    _title(name)
    reference = form.values()[name]
    if reference:
        with st.container(horizontal=True, vertical_alignment="center", key=f"chip_{name}"):
            _thumb(reference)
            st.button("", icon=":material/close:", type="tertiary", key=f"remove_{name}", on_click=_set_one,
                      args=(name, ""), help="Take it out")
    else:
        _draw_sources(name, several=False)


def strip(settings: dict[str, Any]) -> None:
    """The pictures a render was made from, small, in one row."""
    try:
        found = [spec.text for spec in studio.prompts_of(settings.get("image_prompts") or "")]
    except MetaMusicError:
        found = []
    found += [settings[name] for name in ("target", "init_image") if settings.get(name)]
    shown = [_image(reference) for reference in dict.fromkeys(found)]
    if any(shown):
        st.html(f'<div class="mm-chip">{"".join(shown)}</div>')


def _title(name: str) -> None:
    st.markdown(TITLES.get(name, form.KNOBS[name].label), help=effects.of(name, form.KNOBS[name].help))


# -- one picture ----------------------------------------------------------------------------------


def _draw_prompt(name: str, place: int, spec: Any) -> None:
    """A chip: what it shows, how strongly it acts, and the way out; in Advanced also where and until when."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"chip_{name}_{place}"):
        _thumb(spec.text)
        if spec.formula:
            _part(st.text_input, "Weight", name, place, "formula", spec.formula, width=150)
        else:
            _part(st.number_input, "Weight", name, place, "weight", spec.weight, width=130, step=0.1, format="%.2f",
                  min_value=-10.0, max_value=10.0)
        st.button("", icon=":material/close:", type="tertiary", key=f"remove_{name}_{place}", on_click=_remove,
                  args=(name, place), help="Take it out")
        if st.session_state.get("form_advanced"):
            _part(st.text_input, "Only at", name, place, "where", spec.where, width=190,
                  placeholder="left, or: the sky")
            stop = None if spec.stop == float("-inf") else spec.stop
            _part(st.number_input, "Until as close as", name, place, "stop", stop, width=150, step=0.05,
                  placeholder="for ever")


def _part(widget: Any, label: str, name: str, place: int, part: str, value: Any, **looks: Any) -> None:
    """One property of one picture."""
    key = f"part_{name}_{place}_{part}"
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value
    widget(label, key=key, on_change=_edit, args=(name, place, part), **looks)


def _thumb(reference: str) -> None:
    st.html(f'<div class="mm-chip">{_image(reference)}<span>{escape(_named(reference))}</span></div>')


def _image(reference: str) -> str:
    """The reference as an image, or nothing where there is none to be had."""
    source = _source(reference)
    return f'<img src="{escape(source)}" alt="{escape(_named(reference))}">' if source else ""


def _source(reference: str) -> str | None:
    render = _render(reference)
    if render is not None:
        role = next((role for role in ("thumb", "poster", "preview") if role in render.assets), "")
        return media.asset_url(render, role)
    kept = store.open_store().get_picture(reference)
    try:
        small = studio.thumbnail(kept.file) if kept else None
    except MetaMusicError:  # its name is shown instead
        return None
    return f"data:image/webp;base64,{base64.b64encode(small).decode()}" if small else None


def _named(reference: str) -> str:
    """What the picture is called."""
    render = _render(reference)
    if render is not None:
        return header.name(render)
    kept = store.open_store().get_picture(reference)
    return kept.name if kept else words.short(reference)


def _render(reference: str) -> "RenderRow | None":
    number = numbers.whole(reference[1:]) if reference.startswith("#") else None
    return store.open_store().get_render(number) if number is not None else None


# -- where they come from -------------------------------------------------------------------------


def _draw_sources(name: str, *, several: bool) -> None:
    """The drop field, and the renders one can take."""
    problem.show_kept("pictures")
    finished = store.open_store().list_renders(state="done", per_page=RECENT).rows
    dropping, taking = st.columns(2, vertical_alignment="center") if finished else (st.container(), None)
    dropping.file_uploader("Drop a picture", TYPES, key=_drop_key(name), on_change=_take_files, args=(name,),
                           accept_multiple_files=several, max_upload_size=LARGEST_MB, label_visibility="collapsed")
    if taking is not None:
        titles = {row.id: f"{row.title} · {row.id}" for row in finished}
        taking.selectbox("Take a render", list(titles), index=None, key=f"take_{name}", on_change=_take_render,
                         args=(name,), format_func=titles.__getitem__, placeholder="or take a render",
                         label_visibility="collapsed")


def _drop_key(name: str) -> str:
    """A new key empties the drop field."""
    return f"drop_{name}_{st.session_state.get(f'dropped_{name}', 0)}"


@problem.kept("pictures")
def _take_files(name: str) -> None:
    """Dropped pictures go to the store at once, and the drop field is emptied."""
    dropped = st.session_state.get(_drop_key(name)) or []
    st.session_state[f"dropped_{name}"] = st.session_state.get(f"dropped_{name}", 0) + 1
    for file in dropped if isinstance(dropped, list) else [dropped]:
        _add(name, studio.add_picture(store.open_store(), file.getvalue(), file.name).digest)


@problem.kept("pictures")
def _take_render(name: str) -> None:
    number = st.session_state[f"take_{name}"]
    st.session_state[f"take_{name}"] = None
    if number is not None:
        _add(name, f"#{number}")


def _add(name: str, reference: str) -> None:
    if name != "image_prompts":
        _set_one(name, reference)
    elif (new := studio.prompts_of(reference)[0]).text not in {spec.text for spec in _specs(name)}:
        form.put(**{name: studio.prompt_line([*_specs(name), new])})


@problem.kept("pictures")
def _set_one(name: str, reference: str) -> None:
    form.put(**{name: reference})
    if name == "init_image":  # a first picture that is dropped is also used
        form.put(init="image" if reference else "auto")


@problem.kept("pictures")
def _remove(name: str, place: int) -> None:
    specs = _specs(name)
    form.put(**{name: studio.prompt_line(specs[:place] + specs[place + 1:])})


@problem.kept("pictures")
def _edit(name: str, place: int, part: str) -> None:
    raw = st.session_state[f"part_{name}_{place}_{part}"]
    if raw is None:
        raw = float("-inf") if part == "stop" else 1.0
    specs = _specs(name)
    specs[place] = replace(specs[place], **{part: raw})
    form.put(**{name: studio.prompt_line(specs)})


def _specs(name: str) -> list[Any]:
    return list(studio.prompts_of(form.values()[name]))
