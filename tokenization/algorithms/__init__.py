"""From words and pieces to ids: one module an algorithm."""
