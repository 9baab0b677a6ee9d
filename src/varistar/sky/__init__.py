"""The simulated sky: stars whose truth is known, as a ground-based and a space survey observe them."""
