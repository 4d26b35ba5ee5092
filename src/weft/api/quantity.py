"""Quantities."""

from decimal import Decimal


def parse(text: str | int | float) -> Decimal:
    """Raises ValueError."""
    raise NotImplementedError


def to_int(text: str | int | float) -> int:
    """Rounded up."""
    raise NotImplementedError


def to_milli(text: str | int | float) -> int:
    """Thousandths, rounded up."""
    raise NotImplementedError


def canonical(text: str | int | float) -> str:
    raise NotImplementedError
