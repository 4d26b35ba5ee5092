"""Label selectors inside objects. Source: apimachinery `meta/v1/validation`."""

from weft.api import names
from weft.api.validation.errors import Errors, Object
from weft.api.validation.metadata import check_labels


def check_selector(selector: Object, path: str, errors: Errors) -> None:
    check_labels(selector.get("matchLabels"), f"{path}.matchLabels", errors)
    for index, term in enumerate(selector.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        key, operator, values = term.get("key", ""), term.get("operator", ""), term.get("values") or []
        errors.check(f"{where}.key", key, names.qualified_name(key))
        if operator in ("In", "NotIn"):
            if not values:
                errors.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.forbidden(
                    f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        else:
            errors.invalid(f"{where}.operator", operator, "not a valid selector operator")
        for position, value in enumerate(values):
            errors.check(f"{where}.values[{position}]", value, names.label_value(value))
