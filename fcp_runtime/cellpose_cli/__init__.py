"""``fcp-cellpose``: the command line of Cellpose, for the programs that call it."""
