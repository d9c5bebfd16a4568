"""MetaMusic: a song becomes a picture or a video, painted until CLIP sees what Wav2CLIP hears.

Letters used in shapes throughout: B batch, N cutouts, P prompts, D embedding width, H W pixels,
h w latent cells, T audio samples. Images are float in [0, 1], audio is mono float32 at 16 kHz.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "generate_image", "generate_video"]


def __getattr__(name: str) -> Any:
    """The two verbs of the Python interface, imported when first used: the package itself stays light."""
    if name in ("generate_image", "generate_video"):
        from metamusic import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
