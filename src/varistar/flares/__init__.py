"""The flare wing: where a light curve flares, how large and how often, and what that says of the star."""
