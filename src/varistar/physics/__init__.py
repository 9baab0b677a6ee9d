"""What stars do: starspots and, later, flares, pulsation, eclipses and red noise."""
