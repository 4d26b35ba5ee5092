"""Quantities: Kubernetes' canonical forms, exact arithmetic, refused texts."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api import quantity


@pytest.mark.parametrize(
    ("text", "canonical", "whole", "milli"),
    [
        ("1000m", "1", 1, 1000),
        ("0.5", "500m", 1, 500),
        ("250m", "250m", 1, 250),
        ("1024Mi", "1Gi", 2**30, 2**30 * 1000),
        ("1.5Gi", "1536Mi", 3 * 2**29, 3 * 2**29 * 1000),
        ("1000Mi", "1000Mi", 1000 * 2**20, 1000 * 2**20 * 1000),
        ("1.5Ki", "1536", 1536, 1536000),
        ("2e3", "2e3", 2000, 2000000),
        ("1500", "1500", 1500, 1500000),
        ("100k", "100k", 100000, 10**8),
        ("0", "0", 0, 0),
        ("-1500m", "-1500m", -1, -1500),
        (".5", "500m", 1, 500),
        ("5.", "5", 5, 5000),
        (1.5, "1500m", 2, 1500),
        (3, "3", 3, 3000),
        ("1n", "1n", 1, 1),
        ("0.1n", "1n", 1, 1),
        ("9" * 40, str(2**63 - 1), 2**63 - 1, (2**63 - 1) * 1000),
    ],
)
def test_forms(text: str, canonical: str, whole: int, milli: int) -> None:
    assert quantity.canonical(text) == canonical
    assert quantity.to_int(text) == whole
    assert quantity.to_milli(text) == milli


@pytest.mark.parametrize("text", ["", "1x", "1 Gi", "--1", "1ki", "Gi", ".", "1e", "1e999", "٣", True, None, [], "1\n"])
def test_refused(text: object) -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.parse(text)  # type: ignore[arg-type]


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "n", "u", "m", "k", "M", "Ki", "Mi", "Gi", "e3", "E-2"]))
def test_canonical_form_keeps_the_value_and_is_stable(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    canonical = quantity.canonical(text)
    assert quantity.parse(canonical) == quantity.parse(text)
    assert quantity.canonical(canonical) == canonical


@given(st.decimals(-1000, 1000, places=9))
def test_sums_are_exact(value: Decimal) -> None:
    assert quantity.parse(format(value, "f")) == value
