"""Compare: two renders side by side, with what differs on top."""

import streamlit as st

from pages.parts import facts, header, lines, numbers, problem, stage, store

SHOWN = 200  # how many renders back one can pick from

opened = store.open_store()
choices = {row.id: row for row in opened.list_renders(state="done", per_page=SHOWN).rows}
ids = numbers.pair_from_url("ids")
for one in ids:  # a link may point further back than the list
    if one not in choices and (row := opened.get_render(one)) is not None and row.deleted_at is None:
        choices[row.id] = row
pair = [one for one in ids if one in choices]

if len(choices) < 2:
    st.subheader("Two finished renders can be looked at side by side here.")
    st.page_link("pages/studio.py", label="To the Studio", icon=":material/brush:")
    st.stop()
if ids and len(pair) < 2:
    problem.show("One of these renders does not exist.", "Choose another below.")
pair = (pair + [one for one in choices if one not in pair])[:2]


def pick() -> None:
    """Writes the choice into the URL, which is the truth."""
    st.query_params["ids"] = f"{st.session_state['left']},{st.session_state['right']}"


def swap() -> None:
    st.query_params["ids"] = f"{pair[1]},{pair[0]}"


for side, chosen in zip(("left", "right"), pair, strict=True):
    st.session_state[side] = chosen
one, other = (choices[chosen] for chosen in pair)
left, middle, right = st.columns([10, 1, 10], vertical_alignment="center")
for column, side in ((left, "left"), (right, "right")):
    column.selectbox(side, list(choices), key=side, on_change=pick, label_visibility="collapsed",
                     format_func=lambda number: header.name(choices[number]))
middle.button("", icon=":material/swap_horiz:", key="swap", on_click=swap, help="Swap", width="stretch")

names = header.name(one), header.name(other)
facts.differences(one.settings | {"seed": one.seed}, other.settings | {"seed": other.seed})
for column, row, side in zip(st.columns(2, gap="medium"), (one, other), "ab", strict=True):
    with column:
        if "final" in row.assets:
            stage.show(row, row.song.analysis, key=f"compare_{side}_{row.id}", tall="54vh")
        else:
            header.without_picture(row)
lines.draw({names[0]: header.losses(one), names[1]: header.losses(other)}, key="compare_loss")
