"""Everything that judges: pictures, words and sound become unit vectors in one named space.

CLIP (Radford et al. 2021, arXiv:2103.00020) judges pictures and words, Wav2CLIP (Wu et al. 2022,
arXiv:2110.11499) was trained to put sound beside them. Both are the original classes, open_clip's CLIP
and wav2clip's ResNet: the real weights load as they were published, and the sketch pack uses the same
classes in small sizes. A perceptor without an audio tower looks and reads only.

Letters: K image towers, N cutouts, P texts, D embedding width, S pixels, T samples at 16 kHz,
F frequencies, L spectrogram frames, W windows.
"""

import copy
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import CLIP, CustomTextCLIP, convert_to_custom_text_state_dict
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from wav2clip.model.encoder import MLPLayers, ResNetExtractor
from wav2clip.model.resnet import BasicBlock, ResNet

from metamusic.errors import PackError, SongError

SAMPLE_RATE = 16_000  # Hz, what every audio tower listens to
SHORTEST_S = 0.5  # shorter clips are padded with silence to this; wav2clip itself fails below 257 samples
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pictures CLIP was trained on, per channel
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
WAV2CLIP_WIDTH = 512  # wav2clip's own projection has this width and no other
WINDOWS_AT_ONCE = 64  # of a long clip; bounds the memory, whatever the length of the song

# What files of a CLIP keep beside its weights: three numbers that describe the network (OpenAI), a mask
# that follows from them, and the places of words, which older text towers kept.
_DESCRIPTIONS = ("input_resolution", "context_length", "vocab_size", "attn_mask",
                 "text.transformer.embeddings.position_ids")


@dataclass(frozen=True)
class ClipConfig:
    """A CLIP as open_clip configures it.

    `vision` and `text` hold the fields of open_clip's CLIPVisionCfg and CLIPTextCfg; `quick_gelu` is
    needed by the weights that OpenAI published. `model` names one of open_clip's architectures instead:
    the other two are then left empty, and `quick_gelu` asks for it where the architecture does not itself
    (see `clip_config`).
    """

    embed_dim: int
    vision: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    quick_gelu: bool = False
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    model: str = ""


@dataclass(frozen=True)
class AudioConfig:
    """An audio tower in the layout of Wav2CLIP; the defaults are the published network.

    space: the CLIP space it was trained for. width: channels of the first layer, 64 in the original.
    stem_stride: steps in frequency and time of the first convolution. level: `relative` normalises each
    clip by its own mean and spread as the original does, `absolute` keeps loudness. pool: what is kept
    of frequency and time, their mean or also their spread. window_s: longer clips are heard in windows
    of this many seconds, None hears any clip whole.
    """

    space: str
    width: int = 64
    stem_stride: tuple[int, int] = (2, 2)
    level: Literal["relative", "absolute"] = "relative"
    pool: Literal["mean", "mean+std"] = "mean"
    window_s: float | None = None

    @property
    def published(self) -> bool:
        """Whether this is the network whose weights were published, in every respect that shapes it."""
        return self == AudioConfig(space=self.space, window_s=self.window_s)


@dataclass(frozen=True)
class PerceptorConfig:
    """Which towers judge together, and in which space; without `audio` nothing listens."""

    space: str
    clip: ClipConfig
    audio: AudioConfig | None
    image_towers: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a pack's manifest; as they were before a CLIP could be named, where none is."""
        values = asdict(self)
        if not self.clip.model:
            del values["clip"]["model"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PerceptorConfig":
        """The inverse of `to_dict`, also after JSON; PackError where a name or a type is wrong."""
        try:
            audio = values["audio"]
            rest = {k: v for k, v in values.items() if k not in ("clip", "audio")}
            return cls(clip=ClipConfig(**_tupled(values["clip"])),
                       audio=None if audio is None else AudioConfig(**_tupled(audio)), **rest)
        except (KeyError, TypeError, ValueError) as error:
            raise PackError(f"The pack describes a perceptor this MetaMusic does not know: {error}.",
                            "Fetch the pack again, or update MetaMusic.") from error


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


OPENAI_SPACE = "openai/ViT-B-32"
# What open_clip calls the network of that space; its plain ViT-B-32 has another activation.
OPENAI_MODEL = "ViT-B-32-quickgelu"
OPENAI_NAMES = (OPENAI_MODEL, f"{OPENAI_MODEL}/openai", "ViT-B-32/openai")
OPENAI_VIT_B32 = ClipConfig(
    embed_dim=512, quick_gelu=True,
    vision={"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    text={"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12})
WAV2CLIP = PerceptorConfig(space=OPENAI_SPACE, clip=OPENAI_VIT_B32, audio=AudioConfig(space=OPENAI_SPACE))


def clip_config(model: str) -> ClipConfig:
    """The CLIP that open_clip calls by this name, such as `ViT-L-14` or `ViT-L-14/laion2b_s32b_b82k`.

    After the stroke stands open_clip's name of the published weights. It is needed where those of one
    architecture were trained on pictures prepared differently, or with OpenAI's activation (QuickGELU) in
    an architecture that has another by itself. Raises PackError with the reason where open_clip has no
    such model, or where it cannot be used without a download.
    """
    if model in OPENAI_NAMES:
        return OPENAI_VIT_B32
    name, _, tag = model.partition("/")
    known = _architecture(name)
    mean, std = _preparation(name, tag)
    quick = bool(tag and open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
    return ClipConfig(embed_dim=known["embed_dim"], quick_gelu=quick and not known.get("quick_gelu"),
                      mean=mean, std=std, model=name)


def space_of(model: str) -> str:
    """The space that a CLIP named as for `clip_config` judges in."""
    return OPENAI_SPACE if model in OPENAI_NAMES else f"open_clip/{model}"


def _architecture(name: str) -> dict[str, Any]:
    """open_clip's configuration of a model; PackError if it cannot be used here."""
    if name not in open_clip.list_models():
        close = difflib.get_close_matches(name, open_clip.list_models(), 3, 0.3)
        raise PackError(f"open_clip knows no model {name!r}.",
                        f"Did you mean {' or '.join(close)}?" if close else "See open_clip's list of models.")
    config: dict[str, Any] = open_clip.get_model_config(name)
    text, reason = config.get("text_cfg", {}), ""
    if "hf_model_name" in text:
        reason = f"its text tower is {text['hf_model_name']} of another library and would have to be downloaded"
    elif "hf_tokenizer_name" in text or "siglip" in name.lower():
        reason = f"its tokenizer ({text.get('hf_tokenizer_name', 'SigLIP')}) would have to be downloaded"
    elif "multimodal_cfg" in config:
        reason = "it is a CoCa, which writes captions besides"
    if reason:
        raise PackError(f"The CLIP {name} cannot be used: {reason}.",
                        "Choose a CLIP with a tokenizer of its own, such as ViT-B-32 or ViT-L-14.")
    return config


def _preparation(name: str, tag: str) -> tuple[Any, Any]:
    """Mean and spread of the pictures that published weights of this architecture were trained on."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag and tag not in tags:
        raise PackError(f"open_clip knows no weights {tag!r} of {name}.",
                        f"There are {', '.join(tags) or 'none'}; leave it out if yours are others.")
    known = [open_clip.get_pretrained_cfg(name, each) for each in ([tag] if tag else tags)]
    found = {(tuple(each["mean"] or OPENAI_MEAN), tuple(each["std"] or OPENAI_STD)) for each in known}
    if len(found) > 1:
        raise PackError(f"The published weights of {name} were trained on pictures prepared differently.",
                        f"Say which they are: {', '.join(f'{name}/{each}' for each in tags)}.")
    return found.pop() if found else (OPENAI_MEAN, OPENAI_STD)


def _clip(config: ClipConfig) -> Any:
    """open_clip's network with random weights; nothing is downloaded."""
    if not config.model:
        return CLIP(config.embed_dim, dict(config.vision), dict(config.text), quick_gelu=config.quick_gelu)
    known = _architecture(config.model)
    network = CustomTextCLIP if known.pop("custom_text", False) else CLIP
    if config.quick_gelu:
        known["quick_gelu"] = True
    if "timm_model_name" in known["vision_cfg"]:
        known["vision_cfg"]["timm_model_pretrained"] = False
    if known["embed_dim"] != config.embed_dim:
        raise PackError(f"{config.model} has {known['embed_dim']} numbers, not {config.embed_dim}.",
                        "Fetch the pack again.")
    try:
        return network(**known)
    except (RuntimeError, TypeError, ImportError) as error:
        raise PackError(f"The CLIP {config.model} cannot be built with the libraries that are here: {error}.",
                        "Choose another CLIP, such as ViT-B-32 or ViT-L-14.") from error


def _tokenizer(config: ClipConfig, context_length: int) -> SimpleTokenizer:
    """The words of every CLIP here, in the manner that the model asks for."""
    how = _architecture(config.model)["text_cfg"].get("tokenizer_kwargs", {}) if config.model else {}
    return SimpleTokenizer(context_length=context_length, **how)


def _side(clip: Any) -> int:
    """Side of the square pictures that a CLIP looks at."""
    size = clip.visual.image_size
    high, wide = size if isinstance(size, tuple | list) else (size, size)
    if high != wide:
        raise PackError(f"This CLIP looks at pictures of {wide} x {high}, and MetaMusic shows it squares.",
                        "Choose another CLIP.")
    return int(high)


SKETCH_SPACE = "metamusic/sketch-1"
SKETCH = PerceptorConfig(
    space=SKETCH_SPACE, image_towers=2,
    clip=ClipConfig(
        embed_dim=128,
        vision={"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
        text={"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3}),
    audio=AudioConfig(space=SKETCH_SPACE, width=24, stem_stride=(4, 2), level="absolute",
                      pool="mean+std", window_s=2.0))


class Perceptor(nn.Module):
    """CLIP, further image towers of the same build, and an audio tower that share one space.

    Comes frozen and in evaluation mode with random weights; a trainer thaws what it trains. Raises
    PackError if the audio tower was made for another CLIP: equal width proves nothing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: PerceptorConfig) -> None:
        super().__init__()
        _check_spaces(config)
        self.config = config
        self.space = config.space
        self.embed_dim = config.clip.embed_dim
        self.clip = _clip(config.clip)
        self.input_size = _side(self.clip)
        self.second_opinions = nn.ModuleList(
            copy.deepcopy(self.clip.visual) for _ in range(config.image_towers - 1))
        self.audio: Any = audio_tower(config.audio, self.embed_dim) if config.audio else None
        self.tokenizer = _tokenizer(config.clip, self.clip.context_length)
        self.register_buffer("mean", torch.tensor(config.clip.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.clip.std).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @property
    def image_towers(self) -> list[nn.Module]:
        """The K image towers; the first is CLIP's own, the plain one."""
        return [self.clip.visual, *self.second_opinions]

    @property
    def hears(self) -> bool:
        """Whether there is a tower for sound."""
        return self.audio is not None

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors [K, N, D] of images [N, 3, S, S] in [0, 1], one row per tower; differentiable.

        Raises ValueError unless S is `input_size`: how to look is the cutouts' business.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self.input_size, self.input_size):
            raise ValueError(f"The towers look at [N, 3, {self.input_size}, {self.input_size}], "
                             f"not {list(images.shape)}.")
        normalised = (images - self.mean) / self.std
        return torch.stack([F.normalize(tower(normalised), dim=-1) for tower in self.image_towers])

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D]. Of a text longer than `reads_whole` allows, only the beginning is read."""
        if isinstance(texts, str):
            raise TypeError("embed_text takes a list of texts.")
        tokens = self.tokenizer(list(texts)).to(self.mean.device)  # [P, context]
        return self.clip.encode_text(tokens, normalize=True)

    def reads_whole(self, text: str) -> bool:
        """Whether the text tower reads the text to its end: start and end mark take two of its places."""
        return len(self.tokenizer.encode(text)) + 2 <= self.clip.context_length

    @torch.no_grad()
    def embed_audio(self, waveform: np.ndarray | Tensor) -> Tensor:
        """The unit vector [D] of one clip [T], mono at 16 kHz.

        One clip per call, because the published network normalises over whatever it is given together.
        Clips under 0.5 s are padded with silence. Where the config names a window, a longer clip is the
        mean of its windows. Raises SongError if there is nothing to hear or the samples are not finite,
        PackError if there is no audio tower.
        """
        if self.config.audio is None:
            raise PackError("These weights only look and read: there is no tower for sound among them.",
                            "Give the render words to follow and no sound, or choose a pack that hears.")
        clip = torch.as_tensor(waveform, dtype=torch.float32, device=self.mean.device)
        if clip.ndim != 1 or not len(clip):
            raise SongError(f"Expected one clip of mono sound, got samples of shape {list(clip.shape)}.",
                            "Choose a region of the song that is not empty.")
        if not torch.isfinite(clip).all():
            raise SongError("The sound holds samples that are not numbers.", "Export the song again.")
        clip = F.pad(clip, (0, max(0, round(SHORTEST_S * SAMPLE_RATE) - len(clip))))
        windows = windows_of(clip, self.config.audio.window_s)
        heard = torch.cat([F.normalize(self.audio(some), dim=-1) for some in windows.split(WINDOWS_AT_ONCE)])
        return F.normalize(heard.mean(0), dim=-1)

    def load_clip(self, state: Mapping[str, Tensor]) -> None:
        """Loads CLIP weights with the names OpenAI or open_clip published, in any precision.

        Raises PackError naming shapes if one is missing or of another network.
        """
        _load(self.clip, self.clip_state(state), "CLIP")

    def clip_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights among `state` under the names that this CLIP has for them."""
        weights = convert_state_dict(self.clip, {k: v for k, v in state.items() if k not in _DESCRIPTIONS})
        if "positional_embedding" in weights and isinstance(self.clip, CustomTextCLIP):
            weights = convert_to_custom_text_state_dict(weights)
        for name in ("logit_scale", "logit_bias"):  # published as a number, and as a list of one
            ours = getattr(self.clip, name, None)
            if ours is not None and name in weights and weights[name].numel() == 1:
                weights[name] = weights[name].reshape(ours.shape)
        return weights

    def load_audio(self, state: Mapping[str, Tensor]) -> None:
        """Loads an audio tower with the names Wav2CLIP published: audio_encoder.*, audio_transform.*.

        Raises PackError naming shapes if one is missing or of another network.
        """
        if self.audio is None:
            raise PackError("There is no place for a Wav2CLIP beside this CLIP.", "Fetch the pack again.")
        ours = {"audio_encoder.": "encoder.", "audio_transform.": "transform."}
        renamed = {new + name.removeprefix(old): tensor for name, tensor in state.items()
                   for old, new in ours.items() if name.startswith(old)}
        _load(self.audio, renamed, "Wav2CLIP")

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Loads everything at once, as `state_dict()` names it; PackError if anything does not fit."""
        _load(self, state, "perceptor")


class NarrowResNet(ResNet):
    """wav2clip's ResNet-18 with other widths, keeping loudness and, beside the mean, the spread.

    Features are [N, 8 * width], or twice as many with `mean+std`.
    """

    def __init__(self, config: AudioConfig) -> None:
        # The original fixes its widths in its constructor; what depends on them is laid once more.
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.config = config
        width = self.inplanes = config.width
        self.conv1 = nn.Conv2d(1, width, 7, config.stem_stride, 3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = nn.BatchNorm2d(width)
        for number in range(4):
            layer = self._make_layer(BasicBlock, width * 2**number, 2, stride=1 if number == 0 else 2)
            setattr(self, f"layer{number + 1}", layer)

    @property
    def features(self) -> int:
        """How many numbers `hear` gives for a clip."""
        return 8 * self.config.width * (2 if self.config.pool == "mean+std" else 1)

    def log_power(self, clips: Tensor) -> Tensor:
        """Natural logarithm of the power spectrogram, [N, 1, F, L] of clips [N, T]."""
        return torch.log(self.spectrogram(clips.unsqueeze(1)) + 1e-7)

    def hear(self, log_power: Tensor) -> Tensor:
        """Features of log power [N, 1, F, L], each clip for itself."""
        if self.config.level == "absolute":
            x = (log_power + 6) / 4  # about zero mean and unit spread over music, the same for every clip
        else:
            centred = log_power - log_power.mean((1, 2, 3), keepdim=True)
            x = centred / (centred.std((1, 2, 3), keepdim=True) + 1e-9)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        if self.config.pool == "mean":
            return x.mean((2, 3))
        # In a very short clip only one cell may be left; its spread is then nought, not undefined, and
        # the small constant keeps the slope of the root finite there.
        spread = torch.sqrt(x.var((2, 3), correction=0) + 1e-6)
        return torch.cat([x.mean((2, 3)), spread], dim=1)

    def forward(self, clips: Tensor) -> Tensor:
        """Features of clips [N, T]."""
        return self.hear(self.log_power(clips))


def audio_tower(config: AudioConfig, embed_dim: int) -> ResNetExtractor:
    """wav2clip's extractor, clips [N, T] to embeddings [N, D] of any length, with random weights.

    The published build is left as it is; any other swaps in a narrow encoder and one linear layer.
    """
    tower = ResNetExtractor(scenario="supervise")
    if config.published:
        tower.transform = MLPLayers()  # the constructor adds it only together with a checkpoint
    else:
        tower.encoder = NarrowResNet(config)
        tower.transform = nn.Linear(tower.encoder.features, embed_dim)
    return tower


def windows_of(clip: Tensor, window_s: float | None) -> Tensor:
    """Evenly spread windows [W, T'] that cover a clip [T] from its first sample to its last."""
    size = round(window_s * SAMPLE_RATE) if window_s else len(clip)
    if len(clip) <= size:
        return clip[None]
    starts = np.linspace(0, len(clip) - size, math.ceil(len(clip) / size)).round().astype(int)
    return torch.stack([clip[start : start + size] for start in starts])


def _check_spaces(config: PerceptorConfig) -> None:
    audio = config.audio
    if config.image_towers < 1:
        raise PackError("A perceptor needs at least one image tower.", "Fetch the pack again.")
    if audio is None:
        return
    if audio.space != config.space:
        raise PackError(f"The audio tower was made for the space {audio.space!r}, the pictures are judged "
                        f"in {config.space!r}.", "Use a Wav2CLIP that was trained for this CLIP.")
    if audio.published and config.clip.embed_dim != WAV2CLIP_WIDTH:
        raise PackError(f"Wav2CLIP speaks in {WAV2CLIP_WIDTH} numbers, this CLIP in "
                        f"{config.clip.embed_dim}.", "Use a Wav2CLIP that was trained for this CLIP.")


def _load(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Loads strictly, without caring for the precision of the file; on the meta device it only compares."""
    ours = module.state_dict()
    odd = [f"{key} has shape {tuple(state[key].shape)} instead of {tuple(value.shape)}"
           for key, value in ours.items() if key in state and state[key].shape != value.shape]
    odd += [f"{key} is missing" for key in ours if key not in state]
    odd += [f"{key} has no place" for key in state if key not in ours]
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise PackError(f"These weights do not fit the {name} they are meant for: {', '.join(odd[:3])}{more}.",
                        "Fetch the pack again, or name the network that they belong to.")
    if not any(value.is_meta for value in ours.values()):
        module.load_state_dict(dict(state))
