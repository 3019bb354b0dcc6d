"""From fields to instance labels."""
