"""Parts that blocks of all kinds share: delays, flow control, tables that the host fills, counters."""
