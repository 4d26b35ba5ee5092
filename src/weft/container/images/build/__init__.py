"""Building images from Dockerfiles: a pure parser, and the classic builder that carries its instructions out."""
