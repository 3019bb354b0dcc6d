"""What is drawn and written beside the mask."""
