"""Simulations that compare: the accelerator's RTL and netlists with the golden model, bit for bit."""
