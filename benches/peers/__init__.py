"""PyTorch networks from the files that attnscope reads."""
