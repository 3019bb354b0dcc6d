"""The machine that the program runs on: compiled kernels, threads, memory."""
