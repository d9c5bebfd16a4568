"""Compare: two renders side by side, with what differs on top."""

import streamlit as st

from pages.parts import facts, header, lines, names, numbers, problem, stage, store

SHOWN = 200  # how many renders back one can pick from

opened = store.open_store()
choices = {row.id: row for row in opened.list_renders(state="done", per_page=SHOWN).rows}
ids = numbers.pair_from_url("ids")
for number in ids:  # a link may point further back than the list
    found = opened.get_render(number)
    if found is not None and found.deleted_at is None:
        choices[number] = found
pair = [number for number in ids if number in choices]

if len(choices) < 2:
    st.subheader("Two finished renders can be looked at side by side here.")
    st.page_link("pages/studio.py", label="To the Studio", icon=":material/brush:")
    st.stop()
if len(pair) < len(ids):
    problem.show("One of these renders does not exist.", "Choose another below.")
pair = (pair + [number for number in choices if number not in pair])[:2]


def pick() -> None:
    """Writes the choice into the URL, which is the truth."""
    st.query_params["ids"] = f"{st.session_state['left']},{st.session_state['right']}"


def swap() -> None:
    """Left and right change places."""
    st.query_params["ids"] = f"{pair[1]},{pair[0]}"


for side, chosen in zip(("left", "right"), pair, strict=True):
    st.session_state[side] = chosen
one, other = choices[pair[0]], choices[pair[1]]
left, middle, right = st.columns([10, 1, 10], vertical_alignment="center")
for column, side in ((left, "left"), (right, "right")):
    column.selectbox(side, list(choices), key=side, on_change=pick, label_visibility="collapsed",
                     format_func=lambda number: names.of_render(choices[number]))
middle.button("", icon=":material/swap_horiz:", key="swap", on_click=swap, help="Swap", width="stretch")

titles = names.of_render(one), names.of_render(other)
facts.differences(one.settings | {"seed": one.seed}, other.settings | {"seed": other.seed})
for column, row, side in zip(st.columns(2, gap="medium"), (one, other), "ab", strict=True):
    with column:
        if "final" in row.assets:
            stage.show(row, row.song.analysis, key=f"compare_{side}_{row.id}", tall="54vh")
        else:
            header.without_picture(row)
lines.draw({titles[0]: header.losses(one), titles[1]: header.losses(other)}, key="compare_loss")
