"""What the released graphs need: a tiny model built in, one thread."""

from tests.host.conftest import nano, pack  # noqa: F401
