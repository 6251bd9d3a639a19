"""Piece models as tokenizers of the `tokenizers` library, as transformers converts them."""

from tokenizers import AddedToken as LibraryToken
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tokenization.algorithms.digit_comma import SPACE, ends_in_number
from tokenization.errors import VocabularyError
from tokenization.files.piece_file import character_map, check_piece_file, is_unigram, pieces
from tokenization.options import SentencePieceOptions
from tokenization.pipeline.added import AddedTokens

# What the published fast class takes off the score of a piece that ends in a digit and a comma, so
# that it loses.
_NUMBER_PENALTY = 100.0
_CONTROL, _USER_DEFINED = 3, 4


def convert(options: SentencePieceOptions, model: bytes) -> Tokenizer:
    """The library's tokenizer of a unigram piece model, as transformers converts it; raises
    VocabularyError.
    """
    check_piece_file(model, options.model_file)
    if not is_unigram(model):
        raise VocabularyError(
            f"{options.model_file}: only unigram models have a form for the tokenizers library"
        )
    found, first = pieces(model), options.ids.first
    scores = [(token, 0.0) for token in first]
    replaced = 0  # the model's first pieces, in whose places others stand
    if first:
        replaced = len(first) - options.ids.offset
    for piece in found[replaced:]:
        score = piece.score
        if options.split_digit_comma and ends_in_number(piece.text):
            score -= _NUMBER_PENALTY
        scores.append((piece.text, score))
    scores += [(token, 0.0) for token in options.ids.last]
    unknown = options.special_tokens.by_role().get("unk", "<unk>")
    library = Tokenizer(
        models.Unigram(scores, unk_id=[token for token, _ in scores].index(unknown))
    )
    library.add_tokens(
        [
            LibraryToken(piece.text, normalized=False, special=piece.kind == _CONTROL)
            for piece in found
            if piece.kind in (_CONTROL, _USER_DEFINED)
        ]
    )
    library.normalizer = normalizers.Sequence(_normalizers(options, character_map(model)))
    library.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    library.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    return library


def whole_file(options: SentencePieceOptions, model: bytes, added: AddedTokens) -> bytes:
    """A piece model with its special tokens and format as a file of the library's, which
    transformers 5 reads alone.
    """
    library = convert(options, model)
    add_tokens(library, added)
    library.post_processor = template(options, library)
    return library.to_str(pretty=True).encode()


def add_tokens(library: Tokenizer, added: AddedTokens) -> None:
    """Give the library the tokens that are never split, in the order of their ids."""
    for _, token in sorted(added.by_id.items()):
        flags = token.model_dump(
            include={"lstrip", "rstrip", "single_word", "normalized", "special"}
        )
        library.add_tokens([LibraryToken(token.content, **flags)])


def template(options: SentencePieceOptions, library: Tokenizer) -> processors.TemplateProcessing:
    """The format of sequences, as the library writes it, for those who open the saved file."""
    roles: dict[str, str] = dict(options.special_tokens.by_role().items())
    names = {"A": "$A", "B": "$B", "start": roles.get(options.format.start, ""), **roles}
    written = [
        [
            f"{names[what]}:{kind or 0}"
            for what, _, kind in (place.partition(":") for place in template.split())
        ]
        for template in (options.format.single, options.format.pair)
    ]
    ids = {token: library.token_to_id(token) for token in roles.values()}
    known = [(token, index) for token, index in ids.items() if index is not None]
    return processors.TemplateProcessing(single=written[0], pair=written[1], special_tokens=known)


def _normalizers(options: SentencePieceOptions, characters: bytes) -> list[normalizers.Normalizer]:
    made: list[normalizers.Normalizer] = []
    if options.normalize_quotes:
        made += [normalizers.Replace(quote, '"') for quote in ("``", "''")]
    if not options.keep_accents:
        made += [normalizers.NFKD(), normalizers.StripAccents()]
    if options.lower_case:
        made.append(normalizers.Lowercase())
    if characters:
        made.append(normalizers.Precompiled(characters))
    if options.library_spaces == "mark":
        return [
            *made,
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), SPACE),
        ]
    return [*made, normalizers.Replace(Regex(" {2,}"), " ")]
