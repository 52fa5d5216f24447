"""Everything Longtake raises on purpose.

* LongtakeError
  x ConfigError        sizes that no network can have
  x CheckpointError    a file that is not the weights it should be
  x InputError         a value that a user chose
    + FrameCountError  a number of frames off the latent grid
    + SizeError        a width or height off the latent grid
  x NotFiniteError     NaN or infinity in place of numbers
  x NoPictureError     one colour, or numbers that no picture has
  x OutputError        a file that cannot be written

Every message is one line: what was asked, what is allowed, the nearest thing that works.
"""


class LongtakeError(Exception):
    """Base of all errors a user can read and act on."""


class ConfigError(LongtakeError, ValueError):
    """The sizes in a config contradict each other."""


class CheckpointError(LongtakeError, ValueError):
    """A weights file is missing, damaged, of another kind, or does not fit its network."""


class InputError(LongtakeError, ValueError):
    """A value given by the user is outside what is allowed."""


class FrameCountError(InputError):
    """A number of pixel frames that does not fit the latent grid."""

    def __init__(self, frames: int, rule: str, below: int, step: int):
        super().__init__(
            f"{frames} frames do not fit the latent grid: {rule}. "
            f"Nearest: {below} or {below + step}."
        )

    @classmethod
    def causal(cls, frames: int, stride: int) -> "FrameCountError":
        """Of a VAE that packs `stride` frames into each latent frame after the first."""
        rule = (
            f"this VAE packs {stride} frames into each latent frame after the first, so the count "
            f"must be 1 + {stride}·n"
        )
        return cls(frames, rule, max(0, frames - 1) // stride * stride + 1, stride)


class SizeError(InputError):
    """A width or height in pixels that does not fit the latent grid."""

    def __init__(self, name: str, pixels: int, stride: int):
        below = max(stride, pixels // stride * stride)
        super().__init__(
            f"{name} {pixels} does not fit the latent grid: it must be a multiple of {stride}. "
            f"Nearest: {below} or {below + stride}."
        )


class NotFiniteError(LongtakeError, ArithmeticError):
    """A network returned NaN or infinity, which must never become a black video."""


class NoPictureError(LongtakeError, ArithmeticError):
    """A network returned numbers, but no picture, which must never be saved as success."""


class OutputError(LongtakeError, OSError):
    """A file cannot be written to the place chosen for it."""
