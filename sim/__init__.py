"""Simulations that compare the accelerator's RTL and netlists with the golden model, bit for bit.

Start with `run.py`, the command `haarlequin sim`: it says what is compared. `simulate.py` does the work.

    workload.py       the model and the images of a simulation
    simulate.py       runs them through the Verilated RTL
    bench.py          the cocotb test that `simulate.py` starts inside the simulator
    compare_trace.py  compares every tensor of the trace with the golden model
    timeline.py       what each unit does in each cycle of an image, by the trace
    wave.py           the trace of an image as a waveform; fst.py writes it
    faults.py         breaks something on purpose, which the comparison must notice
    gatesim.py        the same for the netlist of a board; gates.py makes its simulator
    noise.py          images over a line that damages what it carries
    serve.py          the simulated accelerator on a pseudo-terminal; the command for any device over HTTP
    report/           a page from what all these have left
    benchmark/        figures of boards, simulator and this computer, next to their marks
"""
