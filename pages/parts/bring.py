"""Weights that somebody already has: recognised by what is in them, or made into a pack of one's own."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import drop, problem, words

LARGEST_MB = 200  # what is uploaded passes through memory; larger files are put into the folder
TYPES = ["ckpt", "pt", "pth", "safetensors", "bin", "yaml"]
OPEN = "Known by its content"
USUAL_CLIP = "ViT-B-32-quickgelu"
ELSEWHERE = ("Files that lie elsewhere on that machine are named on its command line: "
             "`python -m metamusic packs import`.")
PARTS = {"vqgan": "VQGAN (.ckpt), to paint", "vqgan_config": "Its configuration (.yaml), if you have it",
         "clip": "CLIP, to look and read", "wav2clip": "Audio encoder, to hear"}
_SAID = "brought"


def draw() -> None:
    """The folder to put files into, a path, a drop field for small ones; and the form for other weights."""
    folder, _ = studio.packs_folder()
    st.subheader("Weights you already have", anchor=False)
    st.markdown("Put the files into this folder of the machine MetaMusic runs on, under any name, and look again. "
                "They are known by their content.")
    st.code(str(folder), language=None)
    if st.button("Look again", key="look_again", icon=":material/refresh:"):
        _tell(lambda: _recognise(_loose(folder)))
    where, small = st.columns(2, gap="medium")
    with where:
        _draw_path()
    with small:
        drop.draw("weights", f"Or drop one of up to {LARGEST_MB} MB", TYPES, _take_file, max_upload_size=LARGEST_MB)
    problem.show_kept("models")
    for sentence in st.session_state.get(_SAID, ()):
        st.caption(words.plain(sentence))
    with st.expander("Make a pack of other weights", key="own_weights"):
        _draw_own()


# -- what the catalogue knows ---------------------------------------------------------------------


def _draw_path() -> None:
    with st.form("weights", border=False):
        typed = st.text_input("Or name one file in this folder", key="weights_path", placeholder="last.ckpt",
                              help=ELSEWHERE)
        listed = {item.name: item.title for item in studio.shelf() if item.listed}
        chosen = st.selectbox("What it is", ["", *listed], format_func=lambda name: listed.get(name, OPEN),
                              help="Only where nobody states a checksum: then content alone cannot tell.")
        if st.form_submit_button("Look into it") and typed.strip():
            _tell(lambda: _recognise([_inside(typed)], chosen))


def _recognise(paths: list[Path], chosen: str = "") -> list[str]:
    """Says of each file what it is, or why it is none."""
    with st.spinner("Looking into it"):
        return studio.import_pack_files(paths, chosen=chosen)


def _loose(folder: Path) -> list[Path]:
    """The files that lie in the folder itself, outside of all packs."""
    found = [path for path in sorted(folder.glob("*")) if path.is_file() and not path.name.startswith(".")]
    if not found:
        raise MetaMusicError("There is no loose file in the folder.", f"Put the weights into {folder} first.")
    return found


def _take_file(files: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (Path(files[0].name).name or "weights")
        path.write_bytes(files[0].getbuffer())
        _tell(lambda: studio.import_pack_files([path]))


@problem.kept("models")
def _tell(act: Callable[[], list[str]]) -> None:
    """Does it, and keeps what there is to say."""
    st.session_state[_SAID] = []
    st.session_state[_SAID] = act()


# -- one's own ------------------------------------------------------------------------------------


def _draw_own() -> None:
    """The form for weights that the catalogue does not know."""
    st.caption("Name files in the folder above. A pack needs a CLIP; with a VQGAN it paints, with an audio encoder "
               f"made for that CLIP it hears. {ELSEWHERE}")
    with st.form("own", border=False):
        left, right = st.columns(2)
        name = left.text_input("Name", placeholder="my-paintings", max_chars=64)
        title = right.text_input("Title", placeholder="My paintings")
        sides = (left, right, left, right)
        typed = {part: side.text_input(PARTS[part]) for part, side in zip(PARTS, sides, strict=True)}
        model = left.text_input("Which CLIP it is, as open_clip calls it", USUAL_CLIP)
        space = right.text_input("Space they share", placeholder="that of the CLIP",
                                 help="Pictures, words and sound are compared in it. Parts of different spaces "
                                      "do not understand each other.")
        licence = left.text_input("Licence", placeholder="not stated")
        sure = st.checkbox("These parts were trained together. The files cannot prove it; I know it.")
        if st.form_submit_button("Make the pack"):
            said = {"clip_model": model.strip(), "space": space.strip() or None, "title": title.strip(),
                    **({"licence": licence.strip()} if licence.strip() else {})}
            with problem.told():
                files = {part: _inside(path) for part, path in typed.items() if path.strip()}
                st.caption(words.plain(_make(name.strip(), files, said, sure)))


def _make(name: str, files: dict[str, Path], said: dict[str, str | None], sure: bool) -> str:
    if not sure:
        raise MetaMusicError("Only you can know that these parts belong together.",
                             "Tick the box if they do: parts that do not would paint nonsense.")
    for part, path in files.items():
        if not path.is_file():
            raise MetaMusicError(f"{PARTS[part].split(',')[0]}: there is no {path}.", "Correct the path.")
    with st.spinner("Making the pack"):
        return studio.make_pack(name, files, **said)


def _inside(typed: str) -> Path:
    """A file in the folder of packs. Whoever sees this page must not look into other files of the machine."""
    folder, _ = studio.packs_folder()
    named = studio.path_of(typed.strip().strip('"'), "The file")
    path = Path(os.path.normpath(folder.absolute() / named))  # without ".."; links are whoever's who laid them there
    if not path.is_relative_to(folder.absolute()):
        raise MetaMusicError(f"{words.short(typed)!r} lies outside of the folder.",
                             f"Put the file into {folder}, or import it on the command line of that machine: "
                             "python -m metamusic packs import FILE.")
    return path
