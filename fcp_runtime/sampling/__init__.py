"""From pixels to the network's tiles and back to fields."""
