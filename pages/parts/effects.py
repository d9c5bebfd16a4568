"""What each field does to the picture, in a newcomer's words; said after what the setting is."""

GRAMMAR = """
A weight after a colon, several with `|`, a place after `@`:

`storm:0.5 | sea:(2*bass) @ left`

Weights go from -10 to 10; a negative one pushes away. In round brackets the weight follows the music: `time`,
`loudness`, `bass`, `mid`, `treble`, `onset`, `beat`, with `min max sin cos abs sqrt pi`. Places: `left right top
bottom centre border`, or words for where it looks like them: `a ship @ the horizon`, `a storm @ -sky`.
"""
STORY_HINT = """0:00 a quiet sea at dawn
0:12 a storm:1.2 | lightning:(2*bass) {zoom=0.2}
0:30 calm water under stars {audio_weight=0.5}"""
STORY_HELP = """
One scene a line: when it begins, what to see, and in braces the settings it changes. Without times the scenes take
turns.

`0:12 a storm:1.2 | lightning:(2*bass) {zoom=0.2}`
"""

EFFECTS: dict[str, str] = {
    "kind": "A video spends most of its time on the frames between; try the look as a picture first.",
    "pack": "Each pack has seen other pictures: the same song and words look different with each.",
    "canvas": "The VQGAN gives texture and shapes it has learnt; raw pixels give finer, more abstract patterns.",
    "width": "Larger shows finer detail and takes longer by its area.",
    "height": "Larger shows finer detail and takes longer by its area.",
    "fps": "More frames move more smoothly and take longer.",
    "seed": "Another number is another picture of the same idea.",
    "start": "Other bars are another mood, hence another picture.",
    "duration": "A picture is of all that sounds in this stretch; a video is as long as it.",
    "listen": "Segments change the scene on the beat, the whole song keeps one mood, a window flows.",
    "window": "A longer window changes more slowly.",
    "hop": "Smaller follows the music more closely.",
    "audio_weight": "Higher looks more like the music, lower leaves more room for words and pictures.",
    "text": "The picture comes to look like the words.",
    "bank_mix": "Higher gives clear scenes that the pack knows, lower something freer and rougher.",
    "noise_prompts": "Stirs the picture away from the obvious.",
    "previous_weight": "Higher makes scenes flow into one another instead of cutting.",
    "previous_steps": "Longer makes that flow slower.",
    "judges": "A second pair of eyes makes shapes truer and takes longer. Such as `clip-vit-b16:0.5`.",
    "lyrics": "The picture follows what is sung.",
    "lyrics_weight": "Higher shows the line more literally.",
    "lyrics_fade": "Longer lets images melt into each other, 0 cuts.",
    "lyrics_mix": "Instead makes the words plain to see; together keeps the mood of the music.",
    "story": "Scenes come one after another; a still shows those of its stretch together.",
    "story_every": "Shorter tells faster.",
    "story_fade": "Longer dissolves, 0 cuts.",
    "image_prompts": "The picture takes over what these show, not where they show it.",
    "target": "Shapes and places are taken over, too.",
    "target_weight": "Higher copies it more closely.",
    "init": "What the first picture holds shines through for many steps.",
    "init_image": "Painting begins on top of it.",
    "init_pull": "Higher keeps each frame closer to the one before; lower lets it wander.",
    "init_weight": "Higher keeps more of the first picture until the end.",
    "init_half_life": "Shorter lets go of the first picture sooner.",
    "cut_method": "Crops find detail everywhere; pooled wholes give one large composition.",
    "cutouts": "More looks are steadier and cleaner, and take longer.",
    "cut_power": "Small crops fill the picture with detail, large ones make one scene.",
    "augments": "Distortions keep the painter from cheating with tiny patterns.",
    "cut_noise": "More makes smoother, softer pictures.",
    "steps": "More steps paint further: clearer, and slower.",
    "coarse_share": "More at half size gives larger shapes and saves time.",
    "optimiser": "Mostly a matter of pace; adam is sound, others are bolder or calmer.",
    "learning_rate": "Larger changes faster and wilder, smaller more calmly.",
    "schedule": "A falling step size ends in a calmer, finer picture.",
    "warmup": "A gentle beginning keeps more of the first picture.",
    "final_rate": "Smaller settles more at the end.",
    "offset_levels": "More levels let large shapes move, not only texture.",
    "total_variation": "Higher is smoother, 0 leaves all the grain.",
    "precision": "No visible change; faster and lighter on some machines.",
    "cutouts_at_once": "No change to the picture; lower it where memory runs out.",
    "steps_per_frame": "More follow the music more eagerly and take longer; fewer are calmer.",
    "zoom": "The feeling of travelling into the picture, or out of it.",
    "scene_pull": "Higher changes scenes quickly, lower lets them linger.",
    "smoothing": "Higher trails and softens, 0 is crisp and may flicker.",
    "latent_smoothing": "Higher morphs slowly instead of flickering.",
    "loudness_steps": "Loud moments change more than quiet ones.",
    "beats_per_segment": "Fewer beats change the scene more often.",
    "longest_segment": "Shorter keeps slow music changing.",
    "fade": "Longer melts one scene into the next, 0 cuts on the beat.",
    "chunk": "No change to the picture.",
    "crf": "Higher is a smaller file with more blocking.",
}
EXTRA = {"text": GRAMMAR, "story": STORY_HELP}


def of(name: str, what: str) -> str:
    """The help of a field: what it is, what it does to the picture, and how it is written."""
    return " ".join(filter(None, (what, EFFECTS.get(name, "")))) + ("\n" + EXTRA[name] if name in EXTRA else "")
