"""The byte link: protocol, frames, UART, and start from a flash."""
