"""What every wing's experiments share: fitting, tracking, registry and promotion."""
