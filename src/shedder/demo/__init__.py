"""The demo: a clogged queue of 200,000 jobs, and what an operator does about it."""
