"""Settings with a name: MetaMusic's own and the team's."""

from db import PresetRow, RenderRow, Store
from metamusic.errors import SettingsError
from metamusic.settings import BUILT_IN_PRESETS, RenderSettings
from metamusic.studio.opening import store_errors


def settings_of(row: RenderRow | PresetRow) -> RenderSettings:
    """The settings of a render or a preset; SettingsError if a newer MetaMusic wrote them."""
    return RenderSettings.parse(row.settings)


def presets(store: Store) -> dict[str, RenderSettings]:
    """Draft, Standard and Fine, then the team's own by name; `unreadable_presets` are left out."""
    found = {name: RenderSettings.parse(values) for name, values in BUILT_IN_PRESETS.items()}
    for row in _preset_rows(store):
        try:
            found[row.name] = settings_of(row)
        except SettingsError:
            continue
    return found


def unreadable_presets(store: Store) -> dict[str, SettingsError]:
    """Presets that this MetaMusic cannot read, and why: a newer one has written them. They stay kept."""
    found = {}
    for row in _preset_rows(store):
        try:
            settings_of(row)
        except SettingsError as error:
            found[row.name] = error
    return found


def _preset_rows(store: Store) -> list[PresetRow]:
    with store_errors():
        return store.list_presets()


@store_errors()
def save_preset(store: Store, name: str, settings: RenderSettings) -> PresetRow:
    """Keep settings under a name; the same name again replaces them."""
    if name.strip() in BUILT_IN_PRESETS:
        raise SettingsError(f"{name.strip()!r} is one of MetaMusic's own presets.", "Give it another name.")
    return store.save_preset(name, settings.model_dump(mode="json"))


@store_errors()
def delete_preset(store: Store, name: str) -> None:
    """Forget a preset of the team."""
    store.delete_preset(name)
