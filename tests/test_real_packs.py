"""Published weights, from the file to the picture: random ones, in the formats and by the classes of the real."""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import official
import pytest
import torch
from models import make_song
from torch import Tensor, nn
from torch.nn import functional as F

from metamusic import packs
from metamusic.conversion import import_pack
from metamusic.events import Finished
from metamusic.packs import Models
from metamusic.perceptor import OPENAI_MODEL, OPENAI_SPACE, OPENAI_VIT_B32
from metamusic.render import render
from metamusic.settings import RenderSettings
from metamusic.vqgan import VQGANConfig


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("checkpoints")
    official.small_clips(tmp_path_factory.mktemp("configs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAMUSIC_CHECKPOINTS", str(found))
        yield found


@dataclass
class Imported:
    """A pack that was imported, and the networks its weights came from."""

    models: Models
    taming: official.Taming
    clip: nn.Module
    wav2clip: official.Wav2CLIP


def imported(name: str, files: Path, shape: VQGANConfig, clip_model: str, net2net: bool = False) -> Imported:
    """Write the four files, import them and load what came of it."""
    checkpoint, config = files / "last.ckpt", official.vqgan_yaml(files / "model.yaml", shape, net2net)
    taming = official.lightning_vqgan(checkpoint, shape, net2net=net2net)
    clip = official.openai_clip_archive(files / "ViT-B-32.pt", clip_model)
    wav2clip = official.wav2clip_pt(files / "Wav2CLIP.pt")
    import_pack(name, vqgan_config=config, vqgan=checkpoint, clip=files / "ViT-B-32.pt",
                wav2clip=files / "Wav2CLIP.pt", clip_model=clip_model, licence="MIT")
    return Imported(packs.load(name), taming, clip, wav2clip)


@pytest.fixture(scope="module", params=["vq", "gumbel", "net2net"])
def small(request, tmp_path_factory, folder) -> Imported:
    shape = official.SMALL_GUMBEL if request.param == "gumbel" else official.SMALL
    return imported(request.param, tmp_path_factory.mktemp("files"), shape, official.SMALL_CLIP,
                    net2net=request.param == "net2net")


def assert_sees_and_paints_alike(pack: Imported, side: int = 64) -> None:
    """Everything to 1e-4: latents, codes, pictures, judgements."""
    vqgan, perceptor = pack.models.vqgan, pack.models.perceptor
    torch.manual_seed(1)
    picture = torch.rand(1, 3, side, side)
    with torch.no_grad():
        quantised, painted = pack.taming(picture * 2 - 1)
        ours = vqgan.quantise(vqgan.encode(picture))
        close(ours, quantised)
        close(vqgan.decode_unclamped(ours) * 2 - 1, painted)
        looked = torch.rand(2, 3, perceptor.input_size, perceptor.input_size)
        close(perceptor.embed_images(looked)[0], reference_images(pack, looked))
        tokens = perceptor.tokenizer(["a storm at sea", "calm"])
        close(perceptor.embed_text(["a storm at sea", "calm"]), pack.clip.encode_text(tokens, normalize=True))
    sound = torch.from_numpy(make_song(2).waveform)
    close(perceptor.embed_audio(sound), pack.wav2clip(sound[None])[0])


def reference_images(pack: Imported, images: Tensor) -> Tensor:
    config = pack.models.perceptor.config.clip
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (config.mean, config.std))
    return F.normalize(pack.clip.encode_image((images - mean) / std), dim=-1)


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def one_step(pack: Imported, name: str, side: int = 64) -> Finished:
    """A still of one step by the engine itself, listening."""
    settings = RenderSettings.parse({"pack": name, "width": side, "height": side, "steps": 1, "cutouts": 4,
                                     "seed": 1})
    events = list(render(make_song(2), settings, pack.models))
    return next(event for event in events if isinstance(event, Finished))


def test_what_was_imported_sees_hears_and_paints_as_the_originals(small: Imported) -> None:
    assert_sees_and_paints_alike(small)


def test_weights_are_kept_as_they_came(small: Imported) -> None:
    state = small.models.vqgan.state_dict()
    for name, value in small.taming.state_dict().items():
        assert torch.equal(state[name], value), name
    assert {value.dtype for value in small.models.perceptor.state_dict().values() if value.is_floating_point()} == {
        torch.float32}


def test_the_engine_takes_a_step_with_it(small: Imported) -> None:
    assert one_step(small, small.models.info.name) is not None


@pytest.mark.slow
@pytest.mark.parametrize("shape", [official.F16, official.F8_GUMBEL], ids=["f16_16384", "gumbel_f8"])
def test_the_published_sizes(shape: VQGANConfig, tmp_path: Path, folder: Path) -> None:
    """ViT-B/32, Wav2CLIP and either VQGAN in full, as the catalogue's packs have them."""
    started = time.monotonic()
    name = f"full-{shape.kind}"
    pack = imported(name, tmp_path, shape, OPENAI_MODEL)
    info = pack.models.info
    assert info.space == OPENAI_SPACE and pack.models.perceptor.config.clip == OPENAI_VIT_B32
    assert_sees_and_paints_alike(pack)
    assert one_step(pack, name) is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sys.stderr.write(f"\n{name}: {time.monotonic() - started:.0f} s, peak {peak:.2f} GiB, "
                     f"weights in use {packs.memory_need(info) / 2**30:.2f} GiB\n")
    packs.remove_pack(name)
    assert not (folder / name).exists()

