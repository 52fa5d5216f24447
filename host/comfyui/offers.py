"""What newer hosts take, in a node's definition or a call, passed only to those that do."""

import inspect
from collections.abc import Callable
from typing import Any


def offered(takes: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of some options that a class or function of the host at hand takes."""
    known = inspect.signature(takes).parameters
    return {name: value for name, value in options.items() if name in known}
