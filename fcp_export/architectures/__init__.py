"""The ten networks of the thesis."""
