"""Another library's config.json ↔ our spec, through the fields that a layout lists.

`places` reads and changes plain data at dotted paths, `fields` says what one field means,
`reading` goes from config.json to a spec, `writing` back, and `wording` keeps the words in which
a config.json that was read said the same.
"""

from engine.checkpoint.config.fields import field_of, left_over
from engine.checkpoint.config.places import differences
from engine.checkpoint.config.reading import Reading, read_config
from engine.checkpoint.config.wording import kept_words, with_words
from engine.checkpoint.config.writing import Writing, write_config, write_generation

__all__ = [
    "Reading",
    "Writing",
    "differences",
    "field_of",
    "kept_words",
    "left_over",
    "read_config",
    "with_words",
    "write_config",
    "write_generation",
]
