"""Training patches and what the teacher says of them."""
