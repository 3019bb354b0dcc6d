"""Synthetic nuclei with exact labels: for the demo, the tests, benchmarks and training."""

from fcp_runtime.phantom.film import Film, dividing_film
from fcp_runtime.phantom.optics import Microscope
from fcp_runtime.phantom.scenes import Phantom, demo, nuclei_image, organoid

__all__ = [
    "Film",
    "Microscope",
    "Phantom",
    "demo",
    "dividing_film",
    "nuclei_image",
    "organoid",
]
