"""Which models there are, and running one."""
