"""Texts for the tokenizer tests: real sentences of many languages, and pieces that upset
tokenizers.
"""

from hypothesis import strategies as st

# The first article of the Universal Declaration of Human Rights (United Nations, public domain),
# and our own lines.
SENTENCES = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience "
    "and should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt "
    "und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
    "conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros.",
    "ro": "Toate ființele umane se nasc libere și egale în demnitate și în drepturi. Ele sunt înzestrate cu rațiune și "
    "conștiință și trebuie să se comporte unele față de altele în spiritul fraternității.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İstanbul'da ışık ve ırmak.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. ΟΔΟΣ Σωκράτους.",
    "ru": "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
}

NEWS = [
    "On 3 May 1998, 23,000 people (1.80 m tall on average) paid $4.50 each -- or £3.20 -- at No. 5, Mr. Smith's shop.",
    'The e-mail address is someone@example.org; see http://example.org/a/b-c.html, i.e. the well-known "site".',
    "``It's the director's cut,'' she said... \"Don't you think so?\" He didn't; they'll've left by 9.30 a.m.",
    "Prices rose 5,300,000.75% in 1923, to 4,200 marks, from 9, 10, and 11, respectively.",
    "L'été, l'eau n'est pas « froide » : elle est à 21 °C ; c'est-à-dire agréable !",
]

CORPUS = [*SENTENCES.values(), *NEWS] * 3

AWKWARD = [
    "<s>", "</s>", "<unk>", "<sep>", "<pad>", "<cls>", "<mask>", "<eop>", "<eod>", "<eos>", "<formula>", "<special0>",
    "<special1>", "<madeupword0>", "<madeupword6>", "<UNK>", "<S>", " ", "  ", "\n", "\t", "\u00a0", "\u200b", "\u3000",
    "\x00", "\x1c", "▁", "``", "''", "\"", "'", "’", "“", "”", "«", "»", "…", "...", "..", ".", ",", "，", "。", "．",
    "9,", "1,2", "1.5", "3,000.50", "²,", "@-@", "@,@", "@", "-", "–", "—", "&", "&amp;", "|", "%", "％", "(", ")", "[",
    "é", "e\u0301", "\u0301", "ﬁ", "İ", "ß", "Σ", "ΟΔΟΣ", "Ş", "ț", "각", "各", "漢字", "カ\u3099", "👩‍👩‍👧‍👦", "🇩🇪",
    "DOTDOTMULTI", "THISISPROTECTED000", "</w>", "don't", "Mr.", "No. 5", "U.S.", "well-known", "Hello", "world",
]  # fmt: skip

characters = st.characters(exclude_categories=["Cs"])
words = st.sampled_from([word for text in [*SENTENCES.values(), *NEWS] for word in text.split()])
fragments = st.one_of(
    st.sampled_from(AWKWARD), words, st.text(characters, max_size=6), words.map(" {}".format)
)
texts = st.one_of(
    st.text(characters, max_size=30),
    st.lists(fragments, max_size=10).map("".join),
    st.lists(words, max_size=12).map(" ".join),
)
