"""Real sentences in a dozen languages without a download: CLDR through Babel, parallel by
construction.

A fact is a value without words; CLDR says how each language writes it (names, word order, plurals,
lists).
"""

import datetime
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from tokenization.extras import import_extra

LOCALES = ("de", "el", "en", "es", "fr", "it", "nl", "pl", "pt", "ru", "sv", "tr")
TERRITORIES = ("BR", "CN", "CZ", "DE", "EG", "FR", "IT", "JP", "PL", "RU", "SE", "TR")
FIRST_DAY, DAYS = datetime.date(2001, 1, 1), 25 * 365
LARGEST_AMOUNT = 30
# There are few runs and many purchases: repeated, they are about a fifth of what is learned.
RUN_REPEATS = 6
Part = Literal["territory", "language", "weekday", "month", "price", "middle"]


@dataclass(frozen=True)
class Purchase:
    """Something that cost `amount` in a country's own currency on a day."""

    territory: str
    day: datetime.date
    amount: int


@dataclass(frozen=True)
class Run:
    """`count` weekdays or months, one after the other, from the one with number `first` on."""

    unit: Literal["weekday", "month"]
    first: int
    count: int


Fact = Purchase | Run


@dataclass(frozen=True)
class Corpus:
    """Facts to learn from, and facts held out: those are in no language seen in training."""

    train: tuple[Fact, ...]
    held_out: tuple[Fact, ...]


def make_corpus(seed: int, purchases: int = 1500, held_out: int = 200) -> Corpus:
    """Facts drawn from a seed: all runs, and `purchases` of which `held_out` are kept back with a
    part of the runs.
    """
    chance = random.Random(seed)
    bought: dict[Purchase, None] = {}
    while len(bought) < purchases:
        bought.setdefault(_purchase(chance))
    runs: list[Fact] = [Run("weekday", first, count) for first in range(7) for count in (3, 4, 5)]
    runs += [Run("month", first, count) for first in range(12) for count in (3, 4, 5, 6)]
    chance.shuffle(runs)
    kept = len(runs) // 8
    learned = [*list(bought)[held_out:], *runs[kept:] * RUN_REPEATS]
    chance.shuffle(learned)
    return Corpus(tuple(learned), (*list(bought)[:held_out], *runs[:kept]))


def diary(seed: int, locale: str, days: int) -> Iterator[str]:
    """A text whose lines depend on those before: the same purchase on consecutive days."""
    first = _purchase(random.Random(seed))
    price = part(first, locale, "price")
    yield f"{part(first, locale, 'territory')} ({part(first, locale, 'language')})."
    for step in range(days):
        yield f"{_date(first.day + datetime.timedelta(step), locale)}: {price}."


@cache
def sentence(fact: Fact, locale: str) -> str:
    """The fact as one sentence of a language (raises MissingExtraError where Babel is not
    installed).
    """
    if isinstance(fact, Run):
        return f"{_plain(_babel('lists').format_list(_names(fact, locale), locale=locale))}."
    place = f"{part(fact, locale, 'territory')} ({part(fact, locale, 'language')})"
    return f"{place}: {_date(fact.day, locale)}, {part(fact, locale, 'price')}."


def part(fact: Fact, locale: str, which: Part) -> str:
    """The words of a sentence that say one thing; `middle` is the second name of a run."""
    if isinstance(fact, Run):
        return _names(fact, locale)[1]
    if which == "territory":
        return str(_locale(locale).territories[fact.territory])
    if which == "language":
        return str(
            _locale(locale).languages[_babel("languages").get_official_languages(fact.territory)[0]]
        )
    if which == "price":
        currency = _babel("numbers").get_territory_currencies(fact.territory)[0]
        # Amounts are whole, whatever the currency's usual decimals.
        written = _babel("numbers").format_currency(
            fact.amount, currency, "#,##0", locale=locale, format_type="name", currency_digits=False
        )
        return _plain(written)
    form = {"weekday": "EEEE", "month": "MMMM"}[which]
    return _plain(_babel("dates").format_date(fact.day, form, locale=locale))


def _purchase(chance: random.Random) -> Purchase:
    day = FIRST_DAY + datetime.timedelta(chance.randrange(DAYS))
    return Purchase(chance.choice(TERRITORIES), day, chance.randint(1, LARGEST_AMOUNT))


def _names(run: Run, locale: str) -> list[str]:
    data = _locale(locale)
    names = data.days if run.unit == "weekday" else data.months
    wide = names["stand-alone"]["wide"]
    start, length = (0, 7) if run.unit == "weekday" else (1, 12)
    return [_plain(wide[start + (run.first + step) % length]) for step in range(run.count)]


@cache
def _date(day: datetime.date, locale: str) -> str:
    return _plain(_babel("dates").format_date(day, _day_pattern(locale), locale=locale))


@cache
def _day_pattern(locale: str) -> str:
    """Weekday, day and month in a language's order: CLDR's nearest pattern with its names written
    out.
    """
    known = _locale(locale).datetime_skeletons
    nearest = next(name for name in ("MMMMEEEEd", "MMMMEd", "MMMEd") if name in known)
    return re.sub("M+", "MMMM", re.sub("[Ec]+", "EEEE", known[nearest].pattern))


def _plain(text: str) -> str:
    """CLDR's unbreakable spaces as plain ones."""
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


@cache
def _locale(locale: str) -> Any:
    return _babel("core").Locale.parse(locale)


@cache
def _babel(module: str) -> Any:
    return import_extra(f"babel.{module}", "demo", "The demonstration's text")
