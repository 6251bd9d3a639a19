"""The steps of a call: reading, added tokens, truncation, special tokens, padding, decoding."""
