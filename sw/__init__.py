"""The host: the compiler, the devices that run what it makes, and the programs for people."""
