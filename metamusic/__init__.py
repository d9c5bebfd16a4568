"""MetaMusic: a song becomes a picture or a video, painted until CLIP sees what Wav2CLIP hears.

Letters used in shapes throughout: B batch, N cutouts, P prompts, D embedding width, H W pixels,
h w latent cells, T audio samples. Images are float in [0, 1], audio is mono float32 at 16 kHz.
"""
