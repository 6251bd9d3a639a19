"""What goes wrong in tokenization, said to people."""


class TokenizationError(ValueError):
    """Something a caller can mend: says what is wrong, where, and what would be right."""


class VocabularyError(TokenizationError):
    """A vocabulary file that is missing, cut short, or not what its name says."""


class MissingExtraError(ImportError):
    """An optional dependency that is not installed; names the extra that brings it."""
