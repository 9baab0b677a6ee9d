"""What every room stands on: errors, settings models and safe file writing."""
