"""One number for an object through time: linking frames, and the tracks that come of it."""

from fcp_runtime.tracks.link import Linking
from fcp_runtime.tracks.tracker import Tracker, Tracks

__all__ = ["Linking", "Tracker", "Tracks"]
