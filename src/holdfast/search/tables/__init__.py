"""Recorded scores: one reader a published format, one table for all of them."""
