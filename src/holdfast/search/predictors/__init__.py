"""What a searcher learns from its history."""
