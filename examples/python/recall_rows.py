"""Dense documents for learning to recall: many facts, and many questions about them, with hardly any filler.

The wordings of needle, multikey, pairs, hops, tracking, common and passkey are those of `natsearch recall write`; the first two
are read from this project's source. Beside them are wordings that no test has (OWN), from which token types can be learned.
"""
import re
from pathlib import Path

import numpy as np

TASKS = Path(__file__).resolve().parents[2] / "src/evaluate/recall/tasks"

# What is not tested: (fact, question) of pairs, common and passkey, and (fact, fact that passes it on, question) of hops and
# tracking, where a question is how the fact that passes it on begins.
OWN = {
    "pairs": [("The age of {name} is {value}.", "The age of {name} is "),
              ("The weight of {name} is {value}.", "The weight of {name} is "),
              ("The bell of {name} rings {value} times.", "How often does the bell of {name} ring? {name} rings "),
              ("The height of {name} is {value}.", "How high is {name}? The height is ")],
    "hops": [("The price of {name} is {value}.", "{name} costs as much as {before}.", "The price of {name} is "),
             ("The rank of {name} is {value}.", "{name} has the same rank as {before}.", "The rank of {name} is ")],
    "tracking": [("The price of {name} is {value}.", "The price of {name} is that of {before}.", "The price of {name} is"),
                 ("The rank of {name} is {value}.", "The rank of {name} is that of {before}.", "The rank of {name} is"),
                 ("The score of {name} is {value}.", "The score of {name} equals that of {before}.", "The score of {name}")],
    "common": [("{name} came in.", "The one who came in most often is"),
               ("{name} was seen.", "The one who was seen most often is")],
    "passkey": [("The code of the vault is {value}.", "The code of the vault is "),
                ("The door opens with {value}.", "The door opens with ")],
}
TESTED = {
    "pairs": [("The key of {name} is {value}.", "The key of {name} is ")],
    "hops": [("The number of {name} is {value}.", "{name} has the same number as {before}.", "The number of {name} is ")],
    "tracking": [("The number of {name} is {value}.", "The number of {name} is that of {before}.", "The number of {name} is")],
    "common": [("{name} was called.", "The name that was called most often is")],
    "passkey": [("The pass key is {value}.", "The pass key is ")],
}
TESTED_TEMPLATES = range(5, 10)


def source():
    """The wordings (value, fact, question), the words that are values, and the names."""
    text = (TASKS / "templates.ts").read_text(encoding="utf-8")
    templates = re.findall(r"value: '(\w+)', fact: '([^']+)',\s+question: '([^']+)'", text)
    words = re.findall(r"'([a-z]+)'", text[text.index("const VALUES"):text.index("] as const")])
    task = (TASKS / "task.ts").read_text(encoding="utf-8")
    names = re.findall(r"'([a-z]+)'", task[task.index("const NAMES"):task.index("] as const")])
    assert len(templates) == 10 and len(names) == 25 and len(words) == 24
    return templates, words, names


def steps(facts, asking):
    """The answer that tells facts from the last to the first, the last of which begins with the question."""
    told = "".join(reversed(facts))[1:]
    assert told.startswith(asking) and told.endswith(".")
    return told[len(asking):-1]


class Writer:
    """Writes documents as lists of pieces (text, whether it is an answer). `tested`: whether tested wordings are used."""

    def __init__(self, sentences, rng, other_names=(), tested=True):
        self.sentences, self.rng, self.tested = sentences, rng, tested
        self.templates, self.words, self.names = source()
        self.other_names = list(other_names)
        if not tested:
            self.templates = [t for n, t in enumerate(self.templates) if n not in TESTED_TEMPLATES]

    def wording(self, task):
        return self.pick(OWN[task] + (TESTED[task] * 2 if self.tested else []))

    def pick(self, things):
        return things[int(self.rng.integers(len(things)))]

    def digits(self, count):
        return "".join(map(str, self.rng.integers(0, 10, count)))

    def some_names(self, count):
        pool = self.other_names if self.other_names and self.rng.random() < 0.3 else self.names
        return [pool[n] for n in self.rng.permutation(len(pool))[:count]]

    def told(self, template, **words):
        """The pieces of a sentence, cut so that numbers stand alone."""
        text = " " + template.format(**words)
        return text[:2].upper() + text[2:] if template.startswith("{name}") else text

    def scene(self, task, most):
        """Facts, whether in this order, and questions [(question, answer)]."""
        if task == "passkey":
            fact, question = self.wording(task)
            value = self.digits(5)
            return [self.told(fact, value=value)], False, [(question, value)]
        if task == "common":
            call, question = self.wording(task)
            first, *others = self.some_names(int(self.rng.integers(2, max(3, min(4, most) + 1))))
            calls = [first] * 6 + [name for name in others for _ in range(2)]
            order = self.rng.permutation(len(calls))
            return [self.told(call, name=calls[n]) for n in order], True, [(question, " " + first)]
        if task == "chains":
            return self.chains(most)
        if task in ("hops", "tracking"):
            number, same, question = self.wording(task)
            length = int(self.rng.integers(2, most + 2))
            names = self.some_names(2 * length)
            chains = [names[:length], names[length:]]
            said, asked = [], []
            for chain in chains:
                value = self.digits(3)
                said.append([self.told(number, name=chain[0], value=value)] +
                            [self.told(same, name=name, before=before) for before, name in zip(chain, chain[1:])])
                for n, name in enumerate(chain[1:], 1):
                    asking = question.format(name=name)
                    asked.append((asking, value if task == "hops" else steps(said[-1][:n + 1], asking)))
            facts, told = [], [0, 0]
            while min(length - t for t in told) > 0 or sum(told) < 2 * length:
                which = int(self.rng.integers(2))
                which = 1 - which if told[which] == length else which
                facts.append(said[which][told[which]])
                told[which] += 1
            return facts, True, asked
        names = self.some_names(1 if task == "needle" else int(self.rng.integers(2, most + 1)))
        if task == "pairs":
            fact, question = self.wording(task)
            each = [(fact, question, name, self.digits(3), "") for name in names]
        else:
            one, mixed = self.pick(self.templates), self.rng.random() < 0.3
            each = []
            for name in names:
                kind, fact, question = self.pick(self.templates) if mixed else one
                value = self.digits(4) if kind == "number" else self.pick(self.words)
                before, space = (" ", "") if kind == "number" else ("", " ")
                each.append((fact, question + before, name, value, space))
        return ([self.told(fact, name=name, value=value) for fact, _, name, value, _ in each], False,
                [(question.format(name=name), space + value) for _, question, name, value, space in each])

    def chains(self, level):
        """Numbers that are passed on, and questions. Levels: 0, one hop, each name is asked for as soon as it is told; 1,
        one hop; 2, 3, 4, up to so many hops. At the levels 0 and 1, half of the documents tell one chain after the other."""
        number, same, question = self.wording("hops")
        length = 1 + int(self.rng.integers(1 if level < 3 else 2, max(1, level) + 1))
        count = 2 if self.rng.random() < 0.5 else int(self.rng.integers(2, 2 + max(1, 9 // length)))
        names = self.some_names(count * length)
        count = len(names) // length
        soon = level == 0 or self.rng.random() < 0.15
        told, asked = [], []
        for chain in (names[c * length:(c + 1) * length] for c in range(count)):
            value, said = self.digits(3), []
            for before, name in zip([None, *chain], chain):
                words = {"name": name, "value": value, "before": before}
                said.append([(self.told(same if before else number, **words), False)])
                if soon and before:
                    said[-1] += [(" " + question.format(name=name), False), (value, True), (".", False)]
            told.append(said)
            asked += [] if soon else [(question.format(name=name), value) for name in chain[1:]]
        order = np.repeat(np.arange(count), length)
        if level > 1 or self.rng.random() < 0.5:
            order = self.rng.permutation(order)
        return [told[c].pop(0) for c in order], True, asked

    def document(self, task, most, filler, questions, within=1.0):
        """Pieces of a document: facts in the first share `within`, with about so many characters of filler, then at most
        so many questions. `most` counts names, or hops; it is the level of the task "chains", which is hops with levels."""
        facts, ordered, asked = self.scene(task, most)
        begin = int(self.rng.integers(len(self.sentences)))
        between, size = [], 0
        while size < filler:
            between.append(self.sentences[(begin + len(between)) % len(self.sentences)])
            size += len(between[-1])
        order = list(range(len(facts))) if ordered else self.rng.permutation(len(facts))
        places = np.sort(self.rng.integers(0, int(within * len(between)) + 1, len(facts)))
        pieces, at = [], 0
        for place, n in zip(places, order):
            pieces += [(" " + s, False) for s in between[at:place]]
            pieces += [(facts[n], False)] if isinstance(facts[n], str) else facts[n]
            at = place
        pieces += [(" " + s, False) for s in between[at:]]
        for n in self.rng.permutation(len(asked))[:questions]:  # each once, or its answer could be copied from before
            pieces += [(" " + asked[n][0], False), (asked[n][1], True), (".", False)]
        return pieces


def encoder(tokenizer):
    """Encodes a piece, and remembers the short ones without digits."""
    known = {}

    def encode(text):
        if text not in known:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if len(text) > 80 or any(ch.isdigit() for ch in text):
                return ids
            known[text] = ids
        return known[text]
    return encode


def row(documents, encode, length, plain, answer):
    """
    [length + 1] tokens, 0 before each document, and what each counts: `answer` for those of answers, of which long ones
    count as much as four tokens, or they would be most of the loss.
    """
    ids, counts = [], []
    for pieces in documents:
        ids.append(0)
        counts.append(0.0)
        for text, is_answer in pieces:
            each = encode(text)
            ids += each
            counts += [answer * min(1, 4 / len(each)) if is_answer else plain] * len(each)
        if len(ids) > length:
            return np.array(ids[:length + 1], dtype=np.int16), np.array(counts[:length + 1], dtype=np.float16)
    raise ValueError("too few documents")


def split_sentences(texts):
    return [s for text in texts for s in re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", text)) if 10 < len(s) < 400]


def frequent_words(texts, count):
    """Frequent words of lower-case letters, to be names of their own."""
    found = {}
    for text in texts:
        for word in re.findall(r"(?<= )[a-z]{4,8}(?= )", text[:300000]):
            found[word] = found.get(word, 0) + 1
    return [word for word, _ in sorted(found.items(), key=lambda each: -each[1])[50:50 + count]]
