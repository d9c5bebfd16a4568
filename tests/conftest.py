"""What many tests need: a data folder of their own, a small pack, a short song."""

import os
import wave

# Before torch is imported: models as small as the tests' only lose by splitting their sums over cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from db import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store on a real SQLite file, in a data folder that lasts for one test."""
    monkeypatch.setenv("METAMUSIC_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("METAMUSIC_DATABASE_URL", raising=False)
    opened = Store.open(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory):
    """A folder of packs with one in it, of random weights, under the name of the default pack."""
    from models import PERCEPTOR, VQGAN_CONFIG, tiny_models

    from metamusic.packs import write_pack

    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAMUSIC_CHECKPOINTS", str(folder))
        models = tiny_models()
        write_pack("sketch", title="Tiny", licence="MIT", bank=models.bank,
                   perceptor=(PERCEPTOR, models.perceptor.state_dict()),
                   vqgan=(VQGAN_CONFIG, models.vqgan.state_dict()))
    return folder


@pytest.fixture
def pack(tiny_checkpoints, monkeypatch):
    """The tiny pack is the one that everybody finds."""
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tiny_checkpoints))


@pytest.fixture(scope="session")
def tune(tmp_path_factory):
    """Three seconds of a rising tone as a wav file."""
    rate = 16_000
    time = np.arange(3 * rate) / rate
    sound = 0.5 * np.sin(2 * np.pi * (200 + 40 * time) * time)
    path = tmp_path_factory.mktemp("songs") / "Rising Tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return path
