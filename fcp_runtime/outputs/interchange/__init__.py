"""Results in the formats of other programs: Fiji, Cellpose, QuPath."""
