"""The perceptor: unit vectors in one space, published weights as they are, nothing quietly replaced."""

import json

import numpy as np
import official
import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch.nn import functional as F
from wav2clip.model.encoder import MLPLayers, ResNetExtractor

from metamusic.errors import PackError, SongError
from metamusic.perceptor import (
    OPENAI_SPACE,
    OPENAI_VIT_B32,
    SAMPLE_RATE,
    SKETCH,
    WAV2CLIP,
    AudioConfig,
    ClipConfig,
    NarrowResNet,
    Perceptor,
    PerceptorConfig,
    clip_config,
    space_of,
    windows_of,
)

SMALL_CLIP = ClipConfig(
    embed_dim=512, vision={"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    text={"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1})


@pytest.fixture(scope="module")
def sketch() -> Perceptor:
    """The sketch pack's shape with random weights."""
    torch.manual_seed(0)
    return Perceptor(SKETCH)


@pytest.fixture(scope="module")
def published() -> Perceptor:
    """Wav2CLIP as published, beside a CLIP small enough for a test."""
    torch.manual_seed(1)
    return Perceptor(PerceptorConfig(space="x", clip=SMALL_CLIP, audio=AudioConfig(space="x")))


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)


def assert_unit(vectors: torch.Tensor) -> None:
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(vectors.shape[:-1]), atol=1e-5)


def test_everything_becomes_unit_vectors(sketch: Perceptor) -> None:
    images = sketch.embed_images(torch.rand(3, 3, 64, 64))
    texts = sketch.embed_text(["a storm at night", ""])
    sound = sketch.embed_audio(noise(2))
    assert (images.shape, texts.shape, sound.shape) == ((2, 3, 128), (2, 128), (128,))
    for vectors in (images, texts, sound):
        assert_unit(vectors)


def test_a_fresh_perceptor_is_frozen(sketch: Perceptor) -> None:
    assert not sketch.training
    assert not any(weight.requires_grad for weight in sketch.parameters())


def test_every_tower_passes_its_gradient_on(sketch: Perceptor) -> None:
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    for judged in sketch.embed_images(images):
        (gradient,) = torch.autograd.grad(judged[:, 0].sum(), images, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_an_image_does_not_see_its_neighbours(sketch: Perceptor) -> None:
    images = torch.rand(4, 3, 64, 64)
    assert torch.allclose(sketch.embed_images(images)[:, :1], sketch.embed_images(images[:1]), atol=1e-5)


def test_images_of_another_size_are_refused(sketch: Perceptor) -> None:
    with pytest.raises(ValueError, match="64, 64"):
        sketch.embed_images(torch.rand(1, 3, 32, 32))


def test_text_is_deterministic_and_long_text_is_admitted(sketch: Perceptor) -> None:
    long = "thunder " * 50
    first, second = sketch.embed_text(["calm sea", long]), sketch.embed_text(["calm sea", long])
    assert torch.equal(first, second)
    assert sketch.reads_whole("calm sea") and not sketch.reads_whole(long)


@pytest.mark.parametrize("samples", [1, 256, 257, 5_000])
def test_short_sounds_are_padded(sketch: Perceptor, published: Perceptor, samples: int) -> None:
    for perceptor in (sketch, published):
        short = noise(1)[:samples]
        padded = np.pad(short, (0, 8000 - samples))
        assert torch.equal(perceptor.embed_audio(short), perceptor.embed_audio(padded))


def test_silence_has_an_embedding(sketch: Perceptor, published: Perceptor) -> None:
    for perceptor in (sketch, published):
        assert perceptor.embed_audio(np.zeros(8000, np.float32)).isfinite().all()


@pytest.mark.parametrize("bad", [np.zeros(0, np.float32), np.zeros((2, 9000), np.float32),
                                 np.full(9000, np.nan, np.float32)])
def test_what_is_no_clip_is_refused(sketch: Perceptor, bad: np.ndarray) -> None:
    with pytest.raises(SongError):
        sketch.embed_audio(bad)


def test_a_long_song_is_heard_in_windows_that_cover_it(sketch: Perceptor) -> None:
    song = torch.arange(5 * SAMPLE_RATE).float()
    windows = windows_of(song, 2.0)
    assert windows.shape == (3, 2 * SAMPLE_RATE)
    assert windows[0, 0] == song[0] and windows[-1, -1] == song[-1]
    parts = torch.stack([sketch.embed_audio(each) for each in windows_of(torch.from_numpy(noise(5)), 2.0)])
    assert torch.allclose(sketch.embed_audio(noise(5)), F.normalize(parts.mean(0), dim=-1), atol=1e-5)


def test_the_narrow_tower_hears_each_clip_for_itself_and_loudness(sketch: Perceptor) -> None:
    clips = torch.from_numpy(np.stack([noise(1, seed) * gain for seed, gain in ((0, 1.0), (1, 30.0))]))
    together = F.normalize(sketch.audio(clips), dim=-1)
    assert torch.allclose(together[0], sketch.embed_audio(clips[0]), atol=1e-5)
    assert not torch.allclose(sketch.embed_audio(clips[0]), sketch.embed_audio(clips[0] * 10), atol=1e-3)


def test_another_space_is_refused_even_at_equal_width() -> None:
    with pytest.raises(PackError, match="'other'.*'x'"):
        Perceptor(PerceptorConfig(space="x", clip=SMALL_CLIP, audio=AudioConfig(space="other")))


def test_a_clip_of_another_width_is_refused_beside_wav2clip() -> None:
    with pytest.raises(PackError, match="512"):
        Perceptor(PerceptorConfig(space="x", clip=SKETCH.clip, audio=AudioConfig(space="x")))


def test_published_wav2clip_weights_load_unchanged(published: Perceptor) -> None:
    """The layout of Wav2CLIP.pt: audio_encoder.*, audio_transform.* and leftovers of its training."""
    torch.manual_seed(2)
    reference = ResNetExtractor(scenario="supervise")
    reference.transform = MLPLayers()
    for name, buffer in reference.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    checkpoint = {f"audio_{name}": value for name, value in reference.state_dict().items()}
    checkpoint = {name: value.clone() for name, value in checkpoint.items()}
    checkpoint["image_transform.sequential.0.weight"] = torch.zeros(1)
    original = ResNetExtractor(checkpoint, scenario="frozen", transform=True).eval()

    published.load_audio(checkpoint)
    with torch.no_grad():
        expected = F.normalize(original(torch.from_numpy(noise(3))[None])[0], dim=-1)
    assert torch.allclose(published.embed_audio(noise(3)), expected, atol=1e-6)


def test_the_narrow_encoder_at_full_width_is_wav2clips(published: Perceptor) -> None:
    """One clip at a time, the parametrised encoder with the original's parameters is the original."""
    narrow = NarrowResNet(AudioConfig(space="x")).eval()
    narrow.load_state_dict(published.audio.encoder.state_dict())
    clip = torch.from_numpy(noise(2))[None]
    with torch.no_grad():
        assert torch.allclose(narrow(clip), published.audio.encoder(clip), atol=1e-4, rtol=1e-3)


def test_missing_weights_are_named(published: Perceptor) -> None:
    with pytest.raises(PackError, match="Wav2CLIP.*conv1.weight is missing"):
        published.load_audio({"audio_transform.x": torch.zeros(1)})
    with pytest.raises(PackError, match="perceptor"):
        published.load({})


def test_openai_weights_load_by_their_published_names() -> None:
    """OpenAI's files hold half precision, and three numbers that are no weights."""
    perceptor = Perceptor(PerceptorConfig(space="x", clip=SMALL_CLIP, audio=AudioConfig(space="x")))
    torch.manual_seed(3)
    other = CLIP(512, dict(SMALL_CLIP.vision), dict(SMALL_CLIP.text))
    state = {name: value.half() if value.is_floating_point() else value
             for name, value in other.state_dict().items()}
    extra = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    perceptor.load_clip(state | extra)
    assert torch.equal(perceptor.clip.visual.conv1.weight, state["visual.conv1.weight"].float())


def test_the_full_size_clip_is_built_by_the_same_path() -> None:
    with torch.device("meta"):
        perceptor = Perceptor(WAV2CLIP)
    assert perceptor.input_size == 224 and perceptor.embed_dim == 512
    shapes = perceptor.clip.state_dict()
    assert shapes["visual.conv1.weight"].shape == (768, 3, 32, 32)
    assert shapes["text_projection"].shape == (512, 512)
    assert sum(weight.numel() for weight in perceptor.clip.parameters()) == 151_277_313  # as published
    assert type(perceptor.clip.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


@pytest.mark.parametrize("config", [SKETCH, WAV2CLIP])
def test_configs_survive_json(config: PerceptorConfig) -> None:
    assert PerceptorConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_config_is_refused() -> None:
    values = SKETCH.to_dict()
    with pytest.raises(PackError, match="does not know"):
        PerceptorConfig.from_dict({**values, "audio": {**values["audio"], "ears": 3}})
    with pytest.raises(PackError, match="does not know"):
        PerceptorConfig.from_dict({})


# -- CLIPs that open_clip knows by name ------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_clips(tmp_path_factory) -> None:
    official.small_clips(tmp_path_factory.mktemp("configs"))


@pytest.mark.parametrize("model", [official.SMALL_CLIP, official.SMALL_CUSTOM_CLIP])
def test_a_clip_by_name_sees_and_reads_as_open_clips_own(small_clips, model: str) -> None:
    perceptor = Perceptor(PerceptorConfig(space="x", clip=clip_config(model), audio=None))
    reference = official.clip(model, seed=5)
    perceptor.load_clip(reference.state_dict())
    images, mean, std = torch.rand(2, 3, 32, 32), perceptor.mean, perceptor.std
    tokens = open_clip.get_tokenizer(model)(["a storm at sea", "thunder " * 50])
    with torch.no_grad():
        seen = F.normalize(reference.encode_image((images - mean) / std), dim=-1)
        read = reference.encode_text(tokens, normalize=True)
    assert torch.allclose(perceptor.embed_images(images)[0], seen, atol=1e-6)
    assert torch.allclose(perceptor.embed_text(["a storm at sea", "thunder " * 50]), read, atol=1e-6)


def test_weights_of_the_older_layout_find_their_place_in_a_separate_text_tower(small_clips) -> None:
    """open_clip published some weights before it gave the text tower a place of its own."""
    plain = official.clip(official.SMALL_CLIP, seed=6)
    custom = Perceptor(PerceptorConfig(space="x", clip=clip_config(official.SMALL_CUSTOM_CLIP), audio=None))
    custom.load_clip(plain.state_dict())
    words = ["a storm at sea"]
    with torch.no_grad():
        expected = plain.encode_text(custom.tokenizer(words), normalize=True)
    assert torch.allclose(custom.embed_text(words), expected, atol=1e-6)


def test_openais_clip_by_name_is_the_one_there_always_was() -> None:
    assert clip_config("ViT-B-32-quickgelu") == clip_config("ViT-B-32-quickgelu/openai") == OPENAI_VIT_B32
    assert clip_config("ViT-B-32/openai") == OPENAI_VIT_B32 and space_of("ViT-B-32/openai") == OPENAI_SPACE
    assert space_of("ViT-B-32-quickgelu") == space_of("ViT-B-32-quickgelu/openai") == OPENAI_SPACE
    assert space_of("ViT-B-32/laion2b_s34b_b79k") == "open_clip/ViT-B-32/laion2b_s34b_b79k"


@pytest.mark.parametrize("tag", ["ViT-B-16/openai", "ViT-L-14/openai", "RN50/openai", "ViT-B-16/metaclip_400m"])
def test_published_weights_get_the_activation_they_were_trained_with(tag: str) -> None:
    def activations(model: str) -> set[str]:
        with torch.device("meta"):
            clip = Perceptor(PerceptorConfig(space="x", clip=clip_config(model), audio=None)).clip
        return {type(part).__name__ for part in clip.modules() if "GELU" in type(part).__name__}

    assert activations(tag) == {"QuickGELU"}
    assert activations(tag.partition("/")[0] + "-quickgelu") == {"QuickGELU"}
    assert activations("ViT-B-16/laion2b_s34b_b88k") == {"GELU"}
    assert json.loads(json.dumps(PerceptorConfig("x", clip_config(tag), None).to_dict()))["clip"]["quick_gelu"]


def test_pictures_are_prepared_as_the_published_weights_had_them() -> None:
    assert clip_config("ViT-L-14/openai").mean == OPENAI_VIT_B32.mean
    assert clip_config("ViT-L-14/laion2b_s32b_b82k").mean == (0.5, 0.5, 0.5)
    with pytest.raises(PackError, match="prepared differently") as caught:
        clip_config("ViT-L-14")
    assert "ViT-L-14/openai" in caught.value.cure


@pytest.mark.parametrize("model, word", [
    ("ViT-B-33", "knows no model 'ViT-B-33'"), ("hf-hub:somebody/clip", "knows no model"),
    ("ViT-B-16-SigLIP", "tokenizer"), ("roberta-ViT-B-32", "text tower is roberta-base"), ("coca_ViT-B-32", "CoCa"),
    ("ViT-B-32/mine", "knows no weights 'mine'")])
def test_a_clip_that_cannot_be_used_is_refused_with_the_reason(model: str, word: str) -> None:
    with pytest.raises(PackError, match=word) as caught:
        clip_config(model)
    assert caught.value.cure


@pytest.mark.parametrize("model", ["RN50", "ViT-L-14-336-quickgelu", "convnext_base_w", "EVA02-B-16",
                                   "MobileCLIP-S1"])
def test_towers_of_every_build_can_be_laid_out(model: str) -> None:
    with torch.device("meta"):
        perceptor = Perceptor(PerceptorConfig(space="x", clip=clip_config(model), audio=None))
    assert perceptor.input_size >= 224 and perceptor.clip.context_length == 77


def test_a_clip_given_as_another_is_refused_with_both_shapes() -> None:
    with torch.device("meta"):
        perceptor = Perceptor(PerceptorConfig(space="x", clip=OPENAI_VIT_B32, audio=None))
        other = CLIP(512, {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
                     dict(OPENAI_VIT_B32.text))
    with pytest.raises(PackError, match=r"visual.conv1.weight has shape \(768, 3, 16, 16\) instead of "
                                        r"\(768, 3, 32, 32\)"):
        perceptor.load_clip(other.state_dict())


def test_a_perceptor_without_ears_says_so(published: Perceptor) -> None:
    deaf = Perceptor(PerceptorConfig(space="x", clip=SMALL_CLIP, audio=None))
    assert published.hears and not deaf.hears
    assert deaf.embed_text(["calm"]).shape == (1, 512)
    with pytest.raises(PackError, match="only look and read") as caught:
        deaf.embed_audio(noise(1))
    assert "pack that hears" in caught.value.cure
    with pytest.raises(PackError, match="no place for a Wav2CLIP"):
        deaf.load_audio({})


def test_named_and_deaf_configs_survive_json(small_clips) -> None:
    for clip in (clip_config(official.SMALL_CLIP), SMALL_CLIP):
        config = PerceptorConfig(space="x", clip=clip, audio=None)
        assert PerceptorConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert "model" not in SKETCH.to_dict()["clip"], "manifests written before models had names stay the same"
