"""Which parts of the network help: a grid of configurations, trained alike, in one table."""
