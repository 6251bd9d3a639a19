"""The engine beside transformers in one run: the same weights and inputs, in turn, as ratios of
time and memory.
"""
