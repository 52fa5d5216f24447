"""A prompt with a cut in it is read as two shots, each frame listening to its own.

A video transformer of this family sees where frames are relative to each other, not which comes
first: given one text for both shots it shows them in either order, as often as not.
"""

import re
from math import ceil

CUT = re.compile(
    r"[,;.]?\s*\b(?:then\s+)?(?:the\s+scene\s+cuts|a\s+cut|cut)\s+to\s+", re.IGNORECASE
)


def shots_of(prompt: str) -> list[str]:
    """The prompts of the shots: "a, then cut to b" -> ["a", "b"]; one if there is no cut."""
    return [shot for shot in CUT.split(prompt) if shot.strip()] or [prompt]


def even_starts(shots: int, latent_frames: int) -> list[int]:
    """Where each of some shots begins if they share a clip: 2 on 5 latent frames -> [0, 3]."""
    return [ceil(i * latent_frames / shots) for i in range(shots)]
