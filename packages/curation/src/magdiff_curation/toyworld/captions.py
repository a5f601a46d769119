"""Captions that tell class, action and background, in several templates with synonyms, and never the looks."""

from __future__ import annotations

import numpy as np

NOUNS = {
    "fish": ("fish",),
    "car": ("car", "automobile"),
    "house": ("house", "cottage"),
    "mushroom": ("mushroom", "toadstool"),
    "rabbit": ("rabbit", "bunny"),
    "rocket": ("rocket", "spaceship"),
    "boat": ("boat", "sailboat"),
    "butterfly": ("butterfly",),
    "mug": ("mug", "cup"),
    "kite": ("kite",),
}
ACTION_PHRASES = {
    "right": ("moves to the right", "glides right", "travels to the right"),
    "left": ("moves to the left", "glides left", "travels to the left"),
    "rise": ("rises", "floats upwards", "moves up"),
    "sink": ("sinks", "drifts downwards", "moves down"),
    "spin": ("spins around", "rotates", "turns round and round"),
    "grow": ("grows", "gets bigger", "comes closer"),
    "shrink": ("shrinks", "gets smaller", "goes away"),
    "jump": ("jumps", "hops up and down", "bounces"),
    "shake": ("shakes from side to side", "trembles", "shivers"),
    "rock": ("rocks back and forth", "tilts to and fro", "sways"),
}
BACKGROUND_PHRASES = {
    "meadow": ("in a meadow", "in a grassy field"),
    "desert": ("in the desert", "among sand dunes"),
    "sea": ("at sea", "on the ocean"),
    "night": ("under the night sky", "on a starry night"),
    "snow": ("in the snow", "on a snowy plain"),
    "bricks": ("in front of a brick wall", "by a brick wall"),
    "forest": ("in a forest", "in the woods"),
    "sunset": ("at sunset", "in the evening sun"),
    "tiles": ("on a tiled floor", "on checkered tiles"),
    "curtain": ("in front of a red curtain", "on a theatre stage"),
}
_TEMPLATES = (
    "a {noun} {action} {background}",
    "{background}, a {noun} {action}",
    "a {noun} that {action} {background}",
)


def caption(rng: np.random.Generator, class_name: str, action: str, background: str) -> tuple[str, str]:
    """Return a caption and the noun it uses for the subject."""
    noun = str(rng.choice(NOUNS[class_name]))
    text = str(rng.choice(_TEMPLATES)).format(
        noun=noun,
        action=rng.choice(ACTION_PHRASES[action]),
        background=rng.choice(BACKGROUND_PHRASES[background]),
    )
    return text, noun


def plain_caption(class_name: str, action: str, background: str) -> str:
    """Return the caption in its first template with the first synonyms, as prompts of benchmarks use it."""
    return f"a {NOUNS[class_name][0]} {ACTION_PHRASES[action][0]} {BACKGROUND_PHRASES[background][0]}"
