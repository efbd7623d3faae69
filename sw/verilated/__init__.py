"""The RTL as a Verilated simulator: built once, then a program for cocotb and a library for the host.

Start with `accelerator.py`: `simulator` builds the simulator of a whole accelerator.

    build.py       makes the simulator of any component, and runs cocotb tests on it
    bench.v        the Verilog around the component: streams of bytes in and out, and the trace
    driver.py      the Python side of `bench.v` in a cocotb test
    simulation.py  the same simulator as a library in this process; simulation.cpp is its C++ side
    trace.py       reads the trace that `bench.v` writes
    cells/         models of FPGA primitives, for netlists
"""
