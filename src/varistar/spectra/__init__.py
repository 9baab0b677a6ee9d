"""From time to period: the chunked Lomb-Scargle transform and periodograms."""
