"""The verbs of MetaMusic, as pages, the command line and Python call them. No torch until something needs it.

Everything a user can mend comes as a MetaMusicError with a message and a cure, and comes here, before any
work has begun: an impossible region, a pack that is not whole, a disk that is full.
"""

from metamusic.lyrics import ends_by_itself
from metamusic.shelf import ShelfItem
from metamusic.studio.again import continue_from, judges_differ, run_again, settings_from, what_differs
from metamusic.studio.asking import check_wishes, resolve, submit
from metamusic.studio.fitting import Estimate, defaults_for, estimate, layered, painted_size
from metamusic.studio.library import add_song, analysis, demo_song
from metamusic.studio.opening import open_store, store_errors
from metamusic.studio.paths import path_of
from metamusic.studio.pictures import add_picture, carry_pictures, material_of, names_kept_pictures, thumbnail
from metamusic.studio.presets import delete_preset, presets, save_preset, settings_of, unreadable_presets
from metamusic.studio.running import cancel, continue_render, restore, start_worker, stop_worker, trash, worker_state
from metamusic.studio.texts import named_files, read_texts
from metamusic.studio.versions import JUDGE, commit_of, versions
from metamusic.studio.weights import (
    get_pack,
    import_pack_files,
    make_pack,
    packs_folder,
    pause_pack,
    remove_pack,
    shelf,
    verify_pack,
)
from metamusic.studio.writing import lyrics_lines, lyrics_of_file, prompt_line, prompts_of, story_of

__all__ = [
    "Estimate", "JUDGE", "ShelfItem", "add_picture", "add_song", "analysis", "cancel", "carry_pictures",
    "check_wishes", "commit_of", "continue_from", "continue_render", "defaults_for", "delete_preset",
    "demo_song", "ends_by_itself", "estimate", "get_pack", "import_pack_files", "judges_differ", "layered",
    "lyrics_lines", "lyrics_of_file", "make_pack", "material_of", "named_files", "names_kept_pictures",
    "open_store", "packs_folder", "painted_size", "path_of", "pause_pack", "presets", "prompt_line",
    "prompts_of", "read_texts", "remove_pack", "resolve", "restore", "run_again", "save_preset",
    "settings_from", "settings_of", "shelf", "start_worker", "stop_worker", "store_errors", "story_of",
    "submit", "thumbnail", "trash", "unreadable_presets", "verify_pack", "versions", "what_differs",
    "worker_state",
]
