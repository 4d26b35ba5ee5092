"""Weft: a whole cloud on one machine: containers, and the elastic network woven through them."""

__version__ = "0.1.0"
