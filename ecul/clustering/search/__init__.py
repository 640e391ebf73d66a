"""Neighbour search: backends propose, one exact kernel decides, a proven bound certifies."""
