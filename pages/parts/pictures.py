"""Pictures in the form: a place to drop them, and each one as a thumbnail with its weight.

The form keeps a line of references, as the command line takes it: a digest of the store, or #7 for render 7.
"""

import base64
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import drop, effects, fields, form, media, names, problem, store

TYPES = ["image", "video"]  # what the file dialogue offers; the store decides. Of a film, its last frame
LARGEST_MB = 100
RECENT = 60  # how many renders back one can take
TITLES = {"image_prompts": "Pictures to resemble", "target": "One picture to come close to, pixel by pixel",
          "init_image": "Begin with a picture"}


def draw_many(name: str) -> None:
    """Any number of pictures, each with a weight."""
    _title(name)
    problem.show_kept(f"picture of {name}")
    try:
        specs = studio.prompts_of(form.values()[name])
    except MetaMusicError as error:  # written by hand, in Advanced
        problem.show(error.message, error.cure)
        fields.draw(name)
        return
    for place, spec in enumerate(specs):
        _draw_prompt(name, place, spec)
    _draw_sources(name, several=True)
    if specs and form.advanced():
        fields.draw(name, label="The same as text")


def draw_one(name: str) -> None:
    """One picture or none."""
    _title(name)
    problem.show_kept(f"picture of {name}")
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
    shown = [f"<figure>{image}<figcaption>{escape(names.of_picture(reference))}</figcaption></figure>"
             for reference in dict.fromkeys(found) if (image := _image(reference))]
    if shown:
        st.html(f'<div class="mm-strip">{"".join(shown)}</div>')


def _title(name: str) -> None:
    st.markdown(TITLES.get(name, form.KNOBS[name].label), help=effects.of(name, form.KNOBS[name].help))


# -- one picture ----------------------------------------------------------------------------------


def _draw_prompt(name: str, place: int, spec: Any) -> None:
    """A chip: what it shows, how strongly it acts, and the way out; in Advanced also where and until when."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"chip_{name}_{place}"):
        _thumb(spec.text, names.in_text(spec.where) if spec.where.endswith("]") else "")
        if spec.formula:
            _part(st.text_input, "Weight", name, place, "formula", spec.formula, width=150)
        else:
            _part(st.number_input, "Weight", name, place, "weight", spec.weight, width=130, step=0.1, format="%.2f",
                  min_value=-10.0, max_value=10.0)
        st.button("", icon=":material/close:", type="tertiary", key=f"remove_{name}_{place}", on_click=_remove,
                  args=(name, place), help="Take it out")
        if form.advanced():
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


def _thumb(reference: str, where: str = "") -> None:
    """The picture with its name. where: the picture that says where it acts, by its name."""
    said = names.of_picture(reference) + (f" @ {where}" if where else "")
    st.html(f'<div class="mm-chip">{_image(reference)}<span title="{escape(said)}">{escape(said)}</span></div>')


def _image(reference: str) -> str:
    """The reference as an image, or nothing where there is none to be had."""
    source = _source(reference)
    return f'<img src="{escape(source)}" alt="{escape(names.of_picture(reference))}">' if source else ""


def _source(reference: str) -> str | None:
    render = names.render_of(reference)
    if render is not None:
        role = next((role for role in ("thumb", "poster", "preview") if role in render.assets), "")
        return media.asset_url(render, role)
    kept = store.open_store().get_picture(reference)
    try:
        small = studio.thumbnail(kept.file) if kept else None
    except MetaMusicError:  # its name is shown instead
        return None
    return f"data:image/webp;base64,{base64.b64encode(small).decode()}" if small else None


# -- where they come from -------------------------------------------------------------------------


def _draw_sources(name: str, *, several: bool) -> None:
    """The drop field, and the renders one can take."""
    finished = store.open_store().list_renders(state="done", per_page=RECENT).rows
    dropping, taking = st.columns(2, vertical_alignment="center") if finished else (st.container(), None)
    with dropping:
        drop.draw(name, "Drop a picture", TYPES, partial(_take_files, name), accept_multiple_files=several,
                  max_upload_size=LARGEST_MB, label_visibility="collapsed")
    if taking is not None:
        titles = {row.id: names.of_render(row) for row in finished}
        taking.selectbox("Take a render", list(titles), index=None, key=f"take_{name}", on_change=_take_render,
                         args=(name,), format_func=titles.__getitem__, placeholder="or take a render",
                         label_visibility="collapsed")


@problem.kept("picture of {0}")
def _take_files(name: str, files: list[Any]) -> None:
    """Dropped pictures go to the store at once; one that is refused does not keep out the others."""
    refusals = []
    for file in files:
        try:
            _add(name, studio.add_picture(store.open_store(), file.getvalue(), file.name).digest)
        except MetaMusicError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


@problem.kept("picture of {0}")
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


@problem.kept("picture of {0}")
def _set_one(name: str, reference: str) -> None:
    if name == "init_image":  # a first picture that is dropped is also used
        form.begin_with(reference)
    else:
        form.put(**{name: reference})


@problem.kept("picture of {0}")
def _remove(name: str, place: int) -> None:
    specs = _specs(name)
    form.put(**{name: studio.prompt_line(specs[:place] + specs[place + 1:])})


@problem.kept("picture of {0}")
def _edit(name: str, place: int, part: str) -> None:
    raw = st.session_state[f"part_{name}_{place}_{part}"]
    if raw is None:
        raw = float("-inf") if part == "stop" else 1.0
    if part == "formula" and raw.strip() and not (raw.strip().startswith("(") and raw.strip().endswith(")")):
        raw = f"({raw})"
    specs = _specs(name)
    specs[place] = replace(specs[place], **{part: raw.strip() if isinstance(raw, str) else raw})
    form.put(**{name: studio.prompt_line(specs)})


def _specs(name: str) -> list[Any]:
    return list(studio.prompts_of(form.values()[name]))
