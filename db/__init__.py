"""The store: what MetaMusic remembers, as rows in a database and files beside it.

`Store.open(home)` is the only way in. Its verbs take and return frozen values (`db.rows`); sessions,
models and SQL stay inside. Nothing here knows the engine, the settings' meaning, or a screen.
"""

from db.errors import DiskFull, NewerDatabase, NotFound, StoreProblem
from db.rows import ACTIVE, STATES, Answer, AssetRow, NewAsset, Page, PictureRow, PresetRow, RenderRow, SongRow
from db.store import Store

__all__ = ["ACTIVE", "STATES", "Answer", "AssetRow", "DiskFull", "NewAsset", "NewerDatabase", "NotFound",
           "Page", "PictureRow", "PresetRow", "RenderRow", "SongRow", "Store", "StoreProblem"]
