"""The parameters of a network: drawn, tied, held elsewhere, resized."""
