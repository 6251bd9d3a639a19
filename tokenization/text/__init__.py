"""Text before it is cut: alignment, edits, Moses, segmenters."""
