"""From scores to rows of attention bits: the binary softmax and the walk through its rows."""
