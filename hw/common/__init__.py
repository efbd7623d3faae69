"""What blocks of all kinds are made of: delays, flow control, tables that the host fills, counters."""
