"""The loss and the loop."""
