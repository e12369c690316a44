"""Sends one shard of a load from one event loop."""
