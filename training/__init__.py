"""How the built-in model is made: the world it learns, the training, the measurement."""

from pack import register

register(keep_path=True)  # so that the pack is `longtake` to every module of this folder
