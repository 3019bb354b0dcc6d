"""The machine that the program runs on: compiled kernels, threads, memory."""

from fcp_runtime.machine.system import check_address_space

check_address_space()  # before the libraries that crash where there is too little
