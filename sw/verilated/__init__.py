"""The RTL as a Verilated simulator: built once, then a program for cocotb and a library for the host."""
