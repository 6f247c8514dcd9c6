"""Which architecture: spaces, tables of recorded scores, objectives, searchers and proxies."""
