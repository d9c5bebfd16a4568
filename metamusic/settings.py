"""RenderSettings: every knob of a render, stated once.

The form in the browser, the flags of the command line, the JSON in the database, the metadata inside
PNG and MP4 and the parameter diff are all derived from the fields below. Nothing here imports torch.
"""

import json
import os
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from metamusic.errors import SettingsError

SETTINGS_VERSION = 1
CHECKOUT = Path(__file__).resolve().parent.parent
LARGEST_SEED = 2**32 - 1

Augment = Literal["affine", "perspective", "jitter", "erasing", "sharpness", "noise", "rotation", "elastic",
                  "thin_plate", "crop", "resized_crop"]
GROUPS = ("Output", "Song", "Guidance", "Lyrics", "Story", "Pictures", "Start", "Cutouts", "Optimisation",
          "Motion", "Encoding")


def home() -> Path:
    """The data folder: METAMUSIC_HOME, or data/ in the checkout; never the current folder."""
    return folder_named("METAMUSIC_HOME") or CHECKOUT / "data"


def folder_named(variable: str) -> Path | None:
    """The folder that an environment variable names; SettingsError for the home of somebody unknown."""
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser().resolve() if named else None
    except RuntimeError as error:
        raise SettingsError(f"{variable} names {named!r}, and there is no such user here.",
                            "Name the folder in full.") from error


def database_url() -> str | None:
    """METAMUSIC_DATABASE_URL, or None for the SQLite file in the data folder."""
    return os.environ.get("METAMUSIC_DATABASE_URL") or None


def knob(default: Any, *, group: str, help: str, unit: str = "", step: float | None = None,
         label: str | None = None, kinds: tuple[str, ...] = ("image", "video"),
         advanced: bool = True, **bounds: Any) -> Any:
    """A pydantic field that also knows how to be drawn: group, unit, step and help text."""
    extra: dict[str, Any] = {"group": group, "unit": unit, "step": step, "label": label,
             "kinds": list(kinds), "advanced": advanced}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


class RenderSettings(BaseModel):
    """Every knob of a render; frozen, versioned, unknown keys refused.

    The defaults are those of the sketch pack. Raises SettingsError through `from_json` and `parse`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = Field(1, description="Version of this list of settings.",
                                json_schema_extra={"group": "", "hidden": True})

    # Output
    kind: Literal["image", "video"] = knob(
        "image", group="Output", advanced=False,
        help="One impression image of the song, or a music video of it.")
    pack: str = knob("sketch", group="Output", min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$",
                     help="The set of weights that paints and judges.")
    canvas: Literal["vqgan", "pixels"] = knob(
        "vqgan", group="Output", help="What is painted: the latent of the pack's VQGAN, or the raw pixels.")
    width: int = knob(256, group="Output", unit="px", step=16, ge=64, le=2048, advanced=False,
                      help="Width of the picture; rounded down to the canvas's cell.")
    height: int = knob(256, group="Output", unit="px", step=16, ge=64, le=2048, advanced=False,
                       help="Height of the picture; rounded down to the canvas's cell.")
    fps: int = knob(12, group="Output", unit="frames/s", step=1, ge=1, le=60, kinds=("video",),
                    advanced=False, help="Frames per second of the video.")
    seed: int | None = knob(None, group="Output", step=1, ge=0, le=LARGEST_SEED, advanced=False,
                            help="The same seed gives the same pixels; empty draws one when you render.")

    # Song
    start: float = knob(0.0, group="Song", unit="s", step=0.5, ge=0, le=86400, advanced=False,
                        help="Where in the song to begin.")
    duration: float | None = knob(None, group="Song", unit="s", step=0.5, ge=0.5, le=86400, advanced=False,
                                  help="How much of the song to use; empty goes to its end.")

    listen: Literal["segment", "song", "window"] = knob(
        "segment", group="Song", kinds=("video",),
        help="What each moment hears: its segment between beats, the whole region, or a window that slides along.")
    window: float = knob(2.0, group="Song", unit="s", step=0.5, ge=0.5, le=60, kinds=("video",),
                         help="Length of the sliding window (listen: window only).")
    hop: float = knob(0.5, group="Song", unit="s", step=0.1, ge=0.05, le=10, kinds=("video",),
                      help="How far the window slides before it listens again; between two it blends.")

    # Guidance
    audio_weight: float = knob(1.0, group="Guidance", step=0.1, ge=-10, le=10, advanced=False,
                               help="How strongly the music pulls; 0 leaves it out, negative pushes away.")
    text: str = knob("", group="Guidance", max_length=4000, advanced=False,
                     help="What to see besides the music: text:weight:stop @ where, several with |. "
                         "A negative weight pushes away.")
    bank_mix: float = knob(0.6, group="Guidance", step=0.05, ge=0, le=1,
                           help="How much of what music and words ask for is replaced by the pack's own "
                                "pictures that come nearest to it (0: sound and words alone).")
    noise_prompts: str = knob("", group="Guidance", max_length=500,
                              help="Random targets, seed:weight, several with |: a push in no direction in "
                                   "particular, the same for the same seed.")
    previous_weight: float = knob(0.0, group="Guidance", step=0.1, ge=-10, le=10, kinds=("video",),
                                  help="How strongly a segment's beginning is held to the last picture of the "
                                       "segment before.")
    previous_steps: int = knob(1, group="Guidance", step=1, ge=1, le=1000, kinds=("video",),
                               help="For how many steps after a border that lasts.")
    judges: str = knob("", group="Guidance", max_length=500,
                       help="Further packs that look as well, pack:weight, several with |. Each reads texts and "
                            "pictures; it hears the music only if it has ears of its own.")

    # Lyrics
    lyrics: str = knob("", group="Lyrics", max_length=60_000,
                       help="Timed lyrics (LRC, SRT, or lines of mm:ss,text): each line is a prompt while it is "
                            "sung.")
    lyrics_weight: float = knob(1.0, group="Lyrics", step=0.1, ge=-10, le=10,
                                help="How strongly the line that is sung pulls.")
    lyrics_fade: float = knob(0.5, group="Lyrics", unit="s", step=0.1, ge=0, le=10,
                              help="Time in which a line comes and goes.")
    lyrics_mix: Literal["together", "instead"] = knob(
        "together", group="Lyrics",
        help="Whether a line acts together with the music, or instead of it while it is sung.")

    # Story
    story: str = knob("", group="Story", max_length=8000,
                      help="Scenes, one per line: m:ss prompts {setting=value}. Lines without times take turns.")
    story_every: float = knob(8.0, group="Story", unit="s", step=0.5, ge=0.5, le=600,
                              help="How long each scene of a story without times lasts.")
    story_fade: float = knob(1.0, group="Story", unit="s", step=0.1, ge=0, le=60,
                             help="Time in which one scene turns into the next.")

    # Pictures
    image_prompts: str = knob("", group="Pictures", max_length=4000,
                              help="Pictures to resemble in content, picture:weight:stop @ where, several with |. "
                                   "A picture is a file, or #7 for what render 7 made.")
    target: str = knob("", group="Pictures", max_length=1000,
                       help="A picture to come close to pixel by pixel: a file, or #7 for render 7.")
    target_weight: float = knob(1.0, group="Pictures", step=0.1, ge=0, le=20,
                                help="How strongly the pixels are drawn to the target picture.")

    # Start
    init: Literal["auto", "nearest", "random", "smooth", "image", "noise", "gradient"] = knob(
        "auto", group="Start",
        help="The first picture: nearest of the pack's bank, random codes, a smooth random field, a picture of "
             "yours, random pixels, or a random gradient; auto is what suits the pack.")
    init_image: str = knob("", group="Start", max_length=1000,
                           help="The picture to begin with: a file, or #7 to go on from render 7.")
    init_pull: float = knob(0.15, group="Start", step=0.05, ge=0, le=10,
                            help="Pull of the latent back to where each frame started.")
    init_weight: float = knob(0.0, group="Start", step=0.05, ge=0, le=10,
                              help="Pull of the latent back to the first picture of all.")
    init_half_life: float = knob(0.0, group="Start", unit="steps", step=10, ge=0, le=100_000,
                                 help="Steps after which that pull has halved; 0: it does not fade.")

    # Cutouts
    cut_method: Literal["crops", "latest", "original", "updated", "nrupdated", "updatedpooling"] = knob(
        "crops", group="Cutouts",
        help="How the judges look: crops is ours; latest and updatedpooling look at the pooled whole, original, "
             "updated and nrupdated at random crops, each as VQGAN-CLIP published it.")
    cutouts: int = knob(12, group="Cutouts", step=1, ge=1, le=128,
                        help="How many looks the judges take at each step.")
    cut_power: float = knob(0.8, group="Cutouts", step=0.1, ge=0.1, le=4,
                            help="Above 1 prefers small crops, below 1 large ones (crops, original, updated and "
                                 "nrupdated).")
    augments: tuple[Augment, ...] = knob(
        ("affine", "perspective", "jitter", "erasing"), group="Cutouts",
        help="Distortions of each look, in this order (latest and nrupdated only).")
    cut_noise: float = knob(0.1, group="Cutouts", step=0.05, ge=0, le=1,
                            help="Largest strength of the noise on each cutout (not with original).")

    # Optimisation
    steps: int = knob(40, group="Optimisation", step=5, ge=1, le=5000, advanced=False,
                      help="Optimisation steps of a still, and of a video's first frame.")
    coarse_share: float = knob(0.7, group="Optimisation", step=0.05, ge=0, le=1,
                               help="Share of those steps taken at half size, before going to full size.")
    optimiser: Literal["adam", "adamw", "radam", "adagrad", "adamax", "rmsprop", "diffgrad", "adamp"] = knob(
        "adam", group="Optimisation", help="The rule that turns slopes into steps.")
    learning_rate: float = knob(0.04, group="Optimisation", step=0.005, gt=0, le=2,
                                help="Step size on the latent.")
    schedule: Literal["constant", "linear", "cosine", "exponential", "plateau"] = knob(
        "constant", group="Optimisation",
        help="How the step size falls from the first step of the render to its last; plateau: whenever the loss "
             "stops falling.")
    warmup: int = knob(0, group="Optimisation", unit="steps", step=5, ge=0, le=5000,
                       help="Steps in which the step size rises from nothing.")
    final_rate: float = knob(0.1, group="Optimisation", step=0.05, ge=0.001, le=1,
                             help="Share of the step size that is left at the end (all schedules but constant).")
    offset_levels: int = knob(3, group="Optimisation", step=1, ge=1, le=5,
                              help="Resolutions at which the latent is moved; 1 moves single cells only.")
    total_variation: float = knob(0.1, group="Optimisation", step=0.05, ge=0, le=10,
                                  help="Weight of the total variation, which calms speckle.")
    precision: Literal["auto", "float32", "float16", "bfloat16"] = knob(
        "auto", group="Optimisation",
        help="Number format of decoder and CLIP; auto is the fastest that is safe on the device.")
    cutouts_at_once: int = knob(0, group="Optimisation", step=1, ge=0, le=128,
                                help="How many cutouts are judged at a time: fewer need less memory and give the "
                                     "same picture. 0: as many as fit.")

    # Motion
    steps_per_frame: int = knob(2, group="Motion", step=1, ge=1, le=1000, kinds=("video",), advanced=False,
                                help="Optimisation steps between two frames.")
    zoom: float = knob(0.04, group="Motion", unit="1/s", step=0.01, ge=-1, le=1, kinds=("video",),
                       help="How fast the camera goes in before it turns back; negative begins near.")
    scene_pull: float = knob(0.5, group="Motion", unit="1/s", step=0.1, ge=0, le=20, kinds=("video",),
                             help="How fast what was painted gives way to the segment's bank picture.")
    smoothing: float = knob(0.5, group="Motion", step=0.05, ge=0, le=0.95, kinds=("video",),
                            help="Share of the last frame that stays visible in the next.")
    latent_smoothing: float = knob(0.0, group="Motion", step=0.05, ge=0, le=0.95, kinds=("video",),
                                   help="Share of the earlier frames in a moving average of what is painted; "
                                        "steadier than blending the pictures.")
    loudness_steps: float = knob(0.0, group="Motion", unit="steps", step=0.5, ge=0, le=50, kinds=("video",),
                                 help="Further steps per frame where the music is loudest.")
    beats_per_segment: int = knob(2, group="Motion", step=1, ge=1, le=64, kinds=("video",),
                                  help="Beats that share one audio target.")
    longest_segment: float = knob(4.0, group="Motion", unit="s", step=0.5, ge=0.5, le=60, kinds=("video",),
                                  help="Segments longer than this are halved.")
    fade: float = knob(1.0, group="Motion", unit="s", step=0.1, ge=0, le=10, kinds=("video",),
                       help="Time in which one segment's target turns into the next.")

    # Encoding
    chunk: float = knob(2.0, group="Encoding", unit="s", step=0.5, ge=0.5, le=60, kinds=("video",),
                        help="Length of the pieces the film is encoded in; a render resumes at their borders.")
    crf: int = knob(17, group="Encoding", step=1, ge=0, le=40, kinds=("video",),
                    help="x264's constant rate factor: lower is better and larger.")

    @field_validator("augments", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """A comma list is accepted too, as the command line gives it."""
        return _names(value) if isinstance(value, str) else value

    # -- the faces that are derived ---------------------------------------------------------------

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "RenderSettings":
        """Settings from plain values; SettingsError names the culprit, its value and its range."""
        version = values.get("version", SETTINGS_VERSION)
        if isinstance(version, int) and version > SETTINGS_VERSION:
            raise SettingsError(
                f"These settings are of version {version}; this MetaMusic knows up to {SETTINGS_VERSION}.",
                "Update MetaMusic, or save the settings again with the older one.")
        unknown = sorted(set(values) - set(cls.model_fields))
        if unknown:
            raise SettingsError(f"Unknown setting {', '.join(map(repr, unknown))}.",
                                f"Known settings: {', '.join(sorted(cls.model_fields))}.")
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(_sentence(error), "Correct it and try again.") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> "RenderSettings":
        """Settings from JSON text; refuses what is not an object, unknown keys and newer versions."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
            raise SettingsError(f"The settings are not valid JSON: {error}.",
                                "Expected one object, as `metamusic settings` prints it.") from error
        if not isinstance(values, dict):
            raise SettingsError(f"The settings must be a JSON object, not a {type(values).__name__}.",
                                "Expected one object, as `metamusic settings` prints it.")
        return cls.parse(values)

    def to_json(self) -> str:
        """Every setting, in the order of the fields."""
        return self.model_dump_json()

    def changed(self, **values: Any) -> "RenderSettings":
        """A validated copy with some values changed."""
        return self.parse({**self.model_dump(), **values})


@dataclass(frozen=True)
class Knob:
    """One setting as forms and flags need it; `type` is bool, int, float, str or tuple."""

    name: str
    label: str
    type: type
    optional: bool
    default: Any
    low: float | None
    high: float | None
    step: float | None
    choices: tuple[str, ...]
    unit: str
    help: str
    group: str
    kinds: tuple[str, ...]
    advanced: bool


def knobs() -> Iterator[Knob]:
    """Every visible setting in the order of its group, as a form or a command line needs it."""
    for name, field in RenderSettings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if extra.get("hidden"):
            continue
        kind, optional, choices = _shape(field.annotation)
        low, high = _bounds(field.metadata)
        yield Knob(
            name=name, label=str(extra.get("label") or name.replace("_", " ").capitalize()),
            type=kind, optional=optional, default=field.default, low=low, high=high,
            step=extra.get("step"), choices=choices, unit=str(extra.get("unit") or ""),  # type: ignore[arg-type]
            help=field.description or "", group=str(extra["group"]),
            kinds=tuple(extra["kinds"]), advanced=bool(extra["advanced"]))  # type: ignore[arg-type]


# What the VQGAN-CLIP family shares, where it differs from our own defaults: one resolution, no bank and no scenery,
# the published cutouts, nothing between the latent and its frames.
_FAMILY: dict[str, Any] = {
    "bank_mix": 0.0, "init": "random", "init_pull": 0.0, "cut_method": "latest", "cutouts": 32, "cut_noise": 0.1,
    "cut_power": 1.0, "coarse_share": 0.0, "offset_levels": 1, "total_variation": 0.0, "optimiser": "adam",
    "augments": ("affine", "perspective", "jitter", "erasing"), "zoom": 0.0, "scene_pull": 0.0, "smoothing": 0.0,
    "fade": 0.0, "steps_per_frame": 1,
}

# What the Studio offers besides the team's own presets: how much time to spend on the same idea, and the ways of
# the systems that this one descends from.
BUILT_IN_PRESETS: dict[str, dict[str, Any]] = {
    "Draft": {"width": 192, "height": 192, "steps": 16, "cutouts": 8, "coarse_share": 1.0,
              "fps": 8, "steps_per_frame": 1},
    "Standard": {},
    "Fine": {"width": 384, "height": 384, "steps": 60, "cutouts": 16, "fps": 24, "steps_per_frame": 2},
    "metamusic-2023": {**_FAMILY, "width": 368, "height": 368, "steps": 60, "learning_rate": 0.15, "fps": 25,
                       "beats_per_segment": 2, "longest_segment": 4.0, "previous_weight": 1.0},
    "vqgan-clip": {**_FAMILY, "width": 256, "height": 256, "steps": 500, "learning_rate": 0.1, "fps": 15,
                   "audio_weight": 0.0},
    "music2video": {**_FAMILY, "width": 256, "height": 256, "steps": 100, "learning_rate": 0.1, "fps": 10,
                    "loudness_steps": 11.0, "beats_per_segment": 1, "longest_segment": 60.0,
                    "previous_weight": 1.0, "lyrics_mix": "instead", "lyrics_fade": 0.0},
    "wav2clip": {**_FAMILY, "width": 256, "height": 256, "steps": 500, "learning_rate": 0.1, "fps": 10,
                 "listen": "window", "window": 1.0, "hop": 0.1, "steps_per_frame": 500},
}
_ABOUT = {
    "Draft": "A quick look: small, few steps.",
    "Standard": "What suits most songs.",
    "Fine": "Larger and more careful; takes several times as long.",
    "metamusic-2023": "The student project MetaMusic of 2023: one step per frame, a new target every second beat, "
                      "held to the last picture for one step.",
    "vqgan-clip": "VQGAN-CLIP by nerdyrodent: 500 steps after a text. It does not hear; write what to see.",
    "music2video": "Music2Video: a new target at every beat, more change where it is loud, and lyrics instead of "
                   "the music while they are sung.",
    "wav2clip": "The Wav2CLIP authors' own film: a window of one second slides along, 500 steps for every frame. "
                "Very slow.",
}


def preset_about(name: str) -> str:
    """One sentence about a built-in preset, "" for any other; docs/family.md has the whole story."""
    return _ABOUT.get(name, "")


def _shape(annotation: Any) -> tuple[type, bool, tuple[str, ...]]:
    """(plain type, may it be None, choices) of a field's annotation."""
    if get_origin(annotation) is Annotated:
        return _shape(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        inner = next(a for a in get_args(annotation) if a is not type(None))
        return _shape(inner)[0], True, ()
    if get_origin(annotation) is Literal:
        return str, False, tuple(get_args(annotation))
    if get_origin(annotation) is tuple:
        return tuple, False, _shape(get_args(annotation)[0])[2]
    return annotation, False, ()


def _names(line: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in line.split(",") if name.strip())


def _bounds(metadata: list[Any]) -> tuple[float | None, float | None]:
    low = next((getattr(m, a) for m in metadata for a in ("ge", "gt") if hasattr(m, a)), None)
    high = next((getattr(m, a) for m in metadata for a in ("le", "lt") if hasattr(m, a)), None)
    return low, high


def _sentence(error: ValidationError) -> str:
    """The first complaint of pydantic as one sentence a user can act on."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, but it is {first['input']!r}."
