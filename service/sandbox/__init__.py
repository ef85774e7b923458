"""Pretend providers that keep the real ones' protocols, count what they accept, and misbehave."""
