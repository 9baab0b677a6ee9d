"""What a light curve is: columns, units, time systems, readers, quality cuts and the sharded store."""
