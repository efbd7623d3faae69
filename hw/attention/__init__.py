"""The way from scores to rows of attention bits: the binary softmax, and the unit that feeds it with rows."""
