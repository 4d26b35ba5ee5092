"""Places on the earth, as longitude and latitude in degrees, and how long light in glass takes between them."""

from math import asin, cos, radians, sin, sqrt

Place = tuple[float, float]
EARTH_RADIUS = 6371.0  # km, the mean
# Light in a fibre goes at two thirds of its speed in a vacuum.
FIBRE_SPEED = 299_792.458 * 2 / 3  # km/s


def distance(a: Place, b: Place) -> float:
    """Kilometres along the great circle (haversine, which keeps its digits for near places)."""
    (x1, y1), (x2, y2) = ((radians(x), radians(y)) for x, y in (a, b))
    h = sin((y2 - y1) / 2) ** 2 + cos(y1) * cos(y2) * sin((x2 - x1) / 2) ** 2
    return 2 * EARTH_RADIUS * asin(min(1.0, sqrt(h)))


def fibre_delay(a: Place, b: Place) -> int:
    """Microseconds."""
    return round(distance(a, b) / FIBRE_SPEED * 1e6)
