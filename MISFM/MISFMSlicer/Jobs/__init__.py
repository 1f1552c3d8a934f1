"""Jobs from the click to the result, and the worker process that computes them."""
