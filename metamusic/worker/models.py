"""The loaded pack, kept between renders: loading takes longer than many a step."""

import threading

from metamusic.packs import Models, check, load

_gate = threading.Lock()
_kept: dict[tuple[str, str], Models] = {}


def models_of(pack: str, device: str) -> Models:
    """A pack ready on a device. Only the last one is kept: two of the large ones fill a graphics card."""
    with _gate:
        key = (check(pack).digest, device)  # checked each time: its files may have been replaced
        if key not in _kept:
            _kept.clear()
            _kept[key] = load(pack, device)
        return _kept[key]
