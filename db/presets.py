"""Verbs about presets."""

from typing import Any

from sqlalchemy import delete, select

from db.base import Verbs
from db.errors import StoreProblem
from db.models import Preset, now
from db.rows import PresetRow


class Presets(Verbs):
    """Settings that the team gave a name to."""

    def save_preset(self, name: str, settings: dict[str, Any]) -> PresetRow:
        """Keep settings under a name; the same name again replaces them."""
        name = " ".join(name.split())
        if not 1 <= len(name) <= 80:
            raise StoreProblem("A preset needs a name of 1 to 80 letters.", "Give it another name.")
        with self.sessions.write() as session:
            preset = session.scalar(select(Preset).where(Preset.name == name))
            if preset is None:
                preset = Preset(name=name, settings=settings)
                session.add(preset)
            else:
                preset.settings, preset.updated_at = settings, now()
            session.flush()
            return _row(preset)

    def list_presets(self) -> list[PresetRow]:
        """All presets by name."""
        with self.sessions.read() as session:
            return [_row(preset) for preset in session.scalars(select(Preset).order_by(Preset.name))]

    def delete_preset(self, name: str) -> None:
        """Forget a preset; renders made with it keep their settings and its name."""
        with self.sessions.write() as session:
            session.execute(delete(Preset).where(Preset.name == name))


def _row(preset: Preset) -> PresetRow:
    return PresetRow(id=preset.id, name=preset.name, settings=preset.settings,
                     created_at=preset.created_at, updated_at=preset.updated_at)
