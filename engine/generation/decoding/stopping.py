"""When a text ends: at an end token, or where it spells out a stop string."""

from collections.abc import Sequence


class StoppingCriteria:
    """Ids that end a text, and strings that do so in the decoded new tokens."""

    def __init__(self, ends: tuple[int, ...], strings: tuple[str, ...], tokenizer: object) -> None:
        self.ends, self.strings, self.tokenizer = ends, strings, tokenizer

    def are_met(self, tokens: Sequence[int]) -> bool:
        """Whether a text is complete with these new tokens."""
        if tokens[-1] in self.ends:
            return True
        if not self.strings:
            return False
        decoded = self.tokenizer.decode(list(tokens))  # type: ignore[attr-defined]
        return any(string in decoded for string in self.strings)
