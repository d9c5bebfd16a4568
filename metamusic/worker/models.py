"""The loaded packs, kept between renders: loading takes longer than many a step."""

import threading
from collections.abc import Sequence
from dataclasses import replace

from metamusic.packs import Models, check, load

_gate = threading.Lock()
_kept: dict[tuple[str, str], Models] = {}


def models_of(pack: str, device: str, judges: Sequence[str] = ()) -> Models:
    """A pack ready on a device, with further packs as judges.

    Only what the last render needed is kept: two of the large ones fill a graphics card.
    """
    with _gate:
        # Checked each time: its files may have been replaced.
        keys = {name: (check(name).digest, device) for name in (pack, *judges)}
        for stale in _kept.keys() - set(keys.values()):
            del _kept[stale]
        for name, key in keys.items():
            if key not in _kept:
                _kept[key] = load(name, device)
        return replace(_kept[keys[pack]], judges={name: _kept[keys[name]] for name in judges})
