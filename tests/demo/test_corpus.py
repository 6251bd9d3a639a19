"""The demonstration's text: parallel by construction, the same from the same seed, held out for
good.
"""

import builtins
import datetime
from itertools import pairwise

import pytest

from engine.demo.corpus import LOCALES, Part, Purchase, Run, diary, make_corpus, part, sentence
from tokenization import MissingExtraError

FACT = Purchase("JP", datetime.date(2014, 3, 14), 25)


def test_a_fact_is_said_in_every_language():
    assert sentence(FACT, "en") == "Japan (Japanese): Friday, March 14, 25 Japanese yen."
    assert sentence(FACT, "de") == "Japan (Japanisch): Freitag, 14. März, 25 Japanische Yen."
    assert sentence(FACT, "es") == "Japón (japonés): viernes, 14 de marzo, 25 yenes japoneses."
    assert sentence(FACT, "ru") == "Япония (японский): пятница, 14 марта, 25 японских иен."
    assert sentence(Run("weekday", 5, 3), "fr") == "samedi, dimanche et lundi."
    assert sentence(Run("month", 11, 3), "el") == "Δεκέμβριος, Ιανουάριος και Φεβρουάριος."


@pytest.mark.parametrize("locale", LOCALES)
def test_sentences_hold_their_parts(locale):
    corpus = make_corpus(3, purchases=60, held_out=20)
    for fact in corpus.train:
        text = sentence(fact, locale)
        assert text.endswith(".") and "\N{NO-BREAK SPACE}" not in text
        parts: tuple[Part, ...] = ("territory", "language", "weekday", "month", "price")
        if isinstance(fact, Run):
            parts = ("middle",)
        assert all(part(fact, locale, which) in text for which in parts)


def test_languages_differ():
    assert len({sentence(FACT, locale) for locale in LOCALES}) == len(LOCALES)


def test_the_seed_decides_and_nothing_held_out_is_learned():
    corpus = make_corpus(0)
    assert corpus == make_corpus(0) != make_corpus(1)
    assert not set(corpus.train) & set(corpus.held_out)
    assert {type(fact) for fact in corpus.held_out} == {Purchase, Run}


def test_a_diary_goes_on_from_day_to_day():
    first, *lines = diary(1, "en", 9)
    assert first.endswith(").")
    assert len({line.partition(": ")[2] for line in lines}) == 1
    week = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    days = [week.index(line.partition(",")[0]) for line in lines]
    assert all((today + 1) % 7 == tomorrow for today, tomorrow in pairwise(days))


def test_without_babel_the_extra_is_named(monkeypatch):
    from engine.demo import corpus

    def without(name, *args, **kwargs):
        if name.startswith("babel"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    real = builtins.__import__
    corpus._babel.cache_clear()
    monkeypatch.setattr("tokenization.extras.import_module", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'blockgraph\[demo\]'"):
        corpus._babel("core")
    monkeypatch.undo()
    corpus._babel.cache_clear()
