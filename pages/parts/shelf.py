"""The shelf of packs: one card each, redrawn while something is being fetched."""

from collections.abc import Callable
from html import escape
from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import form, problem, words

WORKING_S, IDLE_S = 1.0, 5.0  # seconds between two looks
STATE = {"ready": "here", "available": "can be had", "downloading": "on its way", "paused": "paused",
         "broken": "damaged"}
_SAID = "pack_said"  # what the last act on a pack came to: name -> (message, cure); no cure means all is well


def draw() -> None:
    """Every pack, the usable ones first."""
    at_work = any(item.state == "downloading" for item in studio.shelf())
    st.fragment(_look, run_every=WORKING_S if at_work else IDLE_S)(at_work)


@problem.told()
def _look(at_work: bool) -> None:
    items = studio.shelf()
    if at_work != any(item.state == "downloading" for item in items):
        st.rerun()  # this fragment has to look more often, or less
    for item in items:
        with st.container(border=True, key=f"pack_{item.name}"):
            _draw_card(item)


def _draw_card(item: Any) -> None:
    """One pack: what it is, how it stands, what can be done."""
    st.html(f'<div class="mm-pack"><h3>{escape(item.title)}</h3><span class="{item.state}">{STATE[item.state]}</span>'
            f'</div><div class="mm-line">{"".join(f"<span>{escape(fact)}</span>" for fact in facts(item))}</div>')
    card, _, rest = item.card.strip().partition("\n\n")
    if card:
        st.markdown(card)
    st.caption(words.plain(" ".join(filter(None, (f"Licence: {item.licence}", item.asserted)))))
    _draw_progress(item)
    if item.error:
        problem.show(item.error, item.cure)
    with st.container(horizontal=True, vertical_alignment="center"):
        _draw_actions(item)
        if rest:
            with st.popover("More about it", type="tertiary"):
                st.markdown(rest)
    _draw_said(item.name)


def facts(item: Any) -> list[str]:
    """Name, what it can do, size, memory and space."""
    about = "about " if item.about else ""
    can = " and ".join(word for word, does in (("paints", item.paints), ("hears music", item.hears)) if does)
    found = [item.name, can or "judges only", f"{about}{words.size(item.bytes)} " + (
        "on the disk" if item.state == "ready" else "to download")]
    if item.memory:
        found.append(f"{words.size(item.memory)} of weights in memory")
    return [*found, f"space {item.space}"]


def _draw_progress(item: Any) -> None:
    """How far it is, while it is on its way or paused."""
    if item.state not in ("downloading", "paused") or item.state == "paused" and not item.progress:
        return
    pace = f" · {words.size(round(item.speed))}/s" if item.speed else ""
    left = (1 - item.progress) * item.bytes / item.speed if item.speed else 0
    rest = f" · {words.about(left)} left" if left else ""
    said = item.stage or STATE[item.state]
    stage = words.plain(said[:1].upper() + said[1:])
    st.progress(min(1.0, max(0.0, item.progress)), f"{stage} · {item.progress:.0%}{pace}{rest}")


def _draw_said(name: str) -> None:
    """What the last act came to."""
    message, cure = st.session_state.get(_SAID, {}).get(name, ("", ""))
    if cure:
        problem.show(message, cure)
    elif message:
        st.caption(words.plain(message))


def _draw_actions(item: Any) -> None:
    """The buttons; which ones depends on how it stands."""
    if item.state == "ready":
        if item.paints and st.button("Paint with it", key=f"use_{item.name}", icon=":material/brush:"):
            form.choose_pack(item.name)
            st.switch_page("pages/studio.py")
        if st.button("Verify", key=f"verify_{item.name}", icon=":material/fact_check:",
                     help="Reads every byte and compares its checksum."):
            _verify(item.name)
    elif item.state == "downloading":
        st.button("Pause", key=f"pause_{item.name}", icon=":material/pause:", on_click=_act,
                  args=(item.name, studio.pause_pack))
    elif item.state == "paused":
        st.button("Resume", key=f"resume_{item.name}", icon=":material/play_arrow:", on_click=_act,
                  args=(item.name, studio.get_pack))
    else:
        _offer(item)
    if item.removable and item.state in ("ready", "paused", "broken"):
        _offer_removal(item)


def _offer(item: Any) -> None:
    """Asks before it fetches: how much, and is there room."""
    label = "Get" if item.state == "available" else "Get it again"
    with st.popover(label, icon=":material/download:"):
        folder, free = studio.packs_folder()
        about = "About " if item.about else ""
        st.markdown(f"{about}{words.size(item.bytes)} to download. {words.size(free)} are free on the disk.")
        st.caption(words.plain(f"Into {folder}. Licence: {item.licence}"))
        if item.source:
            st.caption(words.plain(f"Where it comes from: {item.source}"))
        st.button("Get it", key=f"get_{item.name}", type="primary", on_click=_act, args=(item.name, studio.get_pack))


def _offer_removal(item: Any) -> None:
    with st.popover("Remove", type="tertiary", icon=":material/delete:"):
        st.markdown("Its files go from the disk. Renders made with it stay, but cannot be run again without it.")
        st.button("Remove it", key=f"remove_{item.name}", on_click=_act, args=(item.name, studio.remove_pack))


def _act(name: str, verb: Callable[[str], object]) -> None:
    """Does something with a pack; what goes wrong is said on its card."""
    said = st.session_state.setdefault(_SAID, {})
    said.pop(name, None)
    try:
        verb(name)
    except MetaMusicError as error:
        said[name] = (error.message, error.cure or "Try again.")


def _verify(name: str) -> None:
    said = st.session_state.setdefault(_SAID, {})
    with st.spinner("Reading every byte"):
        try:
            said[name] = (studio.verify_pack(name), "")
        except MetaMusicError as error:
            said[name] = (error.message, error.cure or "Get it again.")
