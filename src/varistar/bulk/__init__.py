"""One pure function per shard, run in parallel and resumable."""
