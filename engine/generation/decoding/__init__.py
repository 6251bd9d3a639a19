"""How a text is continued: prompts, decoding state, logits processors, samplers, beams, stops."""
