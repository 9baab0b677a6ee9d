"""The period wing: templates, simulate, inject, images, network, calibrate, evaluate."""
