"""How alike simulated and real light curves are: measured, compared, and judged by a classifier."""
