"""Regular expressions as Go writes them (RE2), as Python's."""

import re
from functools import lru_cache


@lru_cache(512)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Raises re.error. `$` and `\\z` mean the very end."""
    return re.compile(re.sub(r"(?<!\\)\$(?=$|[)|])", r"\\Z", pattern.replace(r"\z", r"\Z")))
