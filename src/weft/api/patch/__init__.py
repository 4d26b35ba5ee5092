"""The four patch types. All leave their inputs alone and raise ApiError on patches that they cannot apply."""

from weft.api.patch.apply import apply, update_managed_fields
from weft.api.patch.json_patch import json_patch
from weft.api.patch.merge_patch import merge_patch
from weft.api.patch.strategic import strategic_merge

__all__ = ["apply", "json_patch", "merge_patch", "strategic_merge", "update_managed_fields"]
