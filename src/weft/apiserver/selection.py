"""Which objects of a collection are meant: namespace's objects by label and field selector."""

from dataclasses import dataclass
from typing import Any

from weft.api.kinds import ResourceType
from weft.api.selectors import FieldSelector, LabelSelector


@dataclass(frozen=True, slots=True)
class Selection:
    """None stands for a selector that matches everything."""

    labels: LabelSelector | None = None
    fields: FieldSelector | None = None

    @classmethod
    def parse(cls, rtype: ResourceType, label_selector: str, field_selector: str) -> "Selection":
        """Raises ApiError 400."""
        labels = LabelSelector.parse(label_selector) if label_selector else None
        fields = FieldSelector.parse(field_selector, rtype) if field_selector else None
        return cls(
            labels if labels is not None and not labels.empty else None,
            fields if fields is not None and not fields.empty else None,
        )

    @property
    def everything(self) -> bool:
        return self.labels is None and self.fields is None

    def matches(self, obj: dict[str, Any]) -> bool:
        if self.labels is not None and not self.labels.matches(obj["metadata"].get("labels")):
            return False
        return self.fields is None or self.fields.matches(obj)


EVERYTHING = Selection()
