"""The one command that trains the sketch pack: its stages, its notes, its card."""

from pathlib import Path
from typing import Any

import pytest

from metamusic import packs
from metamusic.sketch import train
from metamusic.sketch.train_joint import Report
from metamusic.sketch.train_vqgan import Progress


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, int]]:
    """Trainers that only take notes of (stage, minutes, seed), and nothing drawn, exported or measured."""
    seen: list[tuple[str, float, int]] = []

    def fake(stage: str) -> Any:
        def trainer(folder: Path, seed: int, *, minutes: float, progress: Any) -> dict[str, Any]:
            seen.append((stage, minutes, seed))
            report = Report(0.5, 10, 3.0, "loss 1")
            progress(Progress(1, 0.5, "codebook", 1.0, 20.0, 9.0, 3.0) if stage == "vqgan" else report)
            return {"stage": stage}

        return trainer

    monkeypatch.setattr(train, "TRAINERS", {stage: fake(stage) for stage in train.SHARES})
    monkeypatch.setattr(train, "finish", lambda folder, seed, name: {"psnr": 30.0})
    return seen


def test_the_stages_share_the_minutes_and_leave_notes(stages: list, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(minutes=100, seed=7, folder=tmp_path, picture_shards=0, pair_shards=0) == {"psnr": 30.0}
    assert [stage for stage, _, _ in stages] == ["vqgan", "joint", "robust"]
    assert sum(minutes for _, minutes, _ in stages) == pytest.approx(100)
    assert {seed for _, _, seed in stages} == {7}
    assert train._noted(tmp_path)["joint"] == {"stage": "joint"}
    assert capsys.readouterr().out == '{\n  "psnr": 30.0\n}\n'


@pytest.mark.parametrize("minutes", [0, -3])
def test_no_time_is_no_budget(minutes: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        train.main(minutes=minutes, folder=tmp_path)


def test_the_card_tells_every_figure() -> None:
    figures = {"psnr": 30.15, "codebook_used": 0.97, "audio_image_r1": 0.63, "audio_image_r5": 0.98,
               "text_image_r1": 0.48}
    spent = {"joint": {"steps": 5000, "minutes": 48.0, "pairs": 35000}}
    noted = {"recordings": {"within": 0.68, "between": 0.27, "windows": 153, "scenes": 10, "most": 0.27}}
    text = train.card(packs.check("sketch"), spent, figures, noted)
    for told in ("30.1 dB", "63.0%", "98.0%", "48.0%", "| joint | 5000 | 48.0 |", "35,000", "0.68", "MIT"):
        assert told in text
    assert "{" not in text
