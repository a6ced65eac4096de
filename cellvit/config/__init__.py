"""Typed settings: the only place of defaults and limits."""
