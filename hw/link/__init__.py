"""The link for bytes: protocol, frames, UART, and the start from a flash."""
