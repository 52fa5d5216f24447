"""What a canvas needs of a VAE, and of the model that belongs to it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from .grid import Grid
from .plan import usual_overlap
from .sound_track import SoundLayout


@dataclass(frozen=True, eq=False)
class Codec:
    """Pixels to latents, and the numbers that the model behind them was made for.

    Attributes:
        grid: how pixels and latents belong together.
        encode: (frames, h, w, 3) in [0, 1], on the grid -> (1, c, t, h, w) on the CPU.
        fps: frames per second that the model was trained at.
        window: latent frames that it is shown at a time.
        overlap: how many of them a window goes on from; 0: the usual for any model.
        sound: how the model packs sound, if it always makes some.
    """

    grid: Grid
    encode: Callable[[Tensor], Tensor]
    fps: Fraction
    window: int
    overlap: int = 0
    sound: SoundLayout | None = None

    def past(self, window: int) -> int:
        """Latent frames that a window of so many goes on from when nobody chose."""
        if self.overlap and window == self.window:
            return self.overlap
        return self.grid.as_clip(usual_overlap(window))
