"""The host's side: what turns a model into tables for an accelerator, and talks to it."""
