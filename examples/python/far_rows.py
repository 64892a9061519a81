"""The rows of train_far.py: documents that tell something early and ask for it at the end, and windows of text."""
import atexit
import multiprocessing
import os
import queue
import signal
from typing import NamedTuple

import numpy as np

from recall_rows import Writer, encoder


class Row(NamedTuple):
    ids: np.ndarray  # [N + 1] tokens
    rows: np.ndarray  # [R] ascending: the queries whose next token is predicted
    answer: np.ndarray  # [R] whether that token is one of an answer
    far: np.ndarray  # [R] whether it is in a document whose facts are in its first 15%


def filled(writer, encode, length, pass_keys=0.3, far=0.7):
    """[length + 1] tokens of documents, a long one first, which of them are answers, and which of an early first one.
    `pass_keys`: the share of documents with a pass key, not pairs; `far`: of first ones whose facts are early."""
    ids, answers, first = [], [], []
    room = length * int(writer.rng.integers(7, 11)) / 10
    while len(ids) <= length:
        left = min(room, length - len(ids)) - 200
        task = "passkey" if writer.rng.random() < pass_keys else "pairs"
        filler = max(0, int(2.8 * left))
        early = not ids and writer.rng.random() < far
        for _ in range(9):  # shorter, until it fits
            pieces = writer.document(task, 10, filler, 10, 0.15 if early else 1.0)
            each = [(token, is_answer) for text, is_answer in pieces for token in encode(text)]
            if len(each) <= length - len(ids):
                break
            filler = int(0.9 * filler)
        first += [early] * (len(each) + 1)
        ids += [0] + [token for token, _ in each]
        answers += [False] + [is_answer for _, is_answer in each]
        room = length
    return tuple(np.array(x[:length + 1]) for x in (ids, answers, first))


def asking_row(writer, encode, length, others, pass_keys, far):
    """A Row of documents, in which all tokens of answers are predicted, and so many at random places."""
    ids, answers, early = filled(writer, encode, length, pass_keys, far)
    places = writer.rng.choice(length, others, replace=False)
    rows = np.union1d(places, answers[1:].nonzero()[0])
    return Row(ids, rows, answers[1:][rows], early[1:][rows])


def text_row(stream, rng, length):
    """A Row that is a window of a stream of tokens, in which all are predicted and none is an answer."""
    begin = int(rng.integers(len(stream) - length))
    ids = stream[begin:begin + length + 1].astype(np.int64)
    ids[0] = 0
    none = np.zeros(length, dtype=bool)
    return Row(ids, np.arange(length), none, none)


def work(seed, sentences, tokenizer_file, arguments, made):
    """A process that writes rows until its parent has ended."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)  # or the parent could wait for the rest of a row
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer
    parent = os.getppid()
    writer = Writer(sentences, np.random.default_rng(seed))
    encode = encoder(Tokenizer.from_file(tokenizer_file))
    while True:
        row = asking_row(writer, encode, *arguments)
        while True:
            try:
                made.put(row, timeout=2)
                break
            except queue.Full:
                if os.getppid() != parent:
                    os._exit(0)


class Workers:
    """`count` processes that write rows of asking_row's arguments. They must begin before CUDA does."""

    def __init__(self, count, seed, waiting, sentences, tokenizer_file, arguments):
        process = multiprocessing.get_context("fork")
        self.made = process.Queue(waiting)
        self.all = [process.Process(target=work, args=([seed, 1, n], sentences, tokenizer_file, arguments, self.made),
                                    daemon=True) for n in range(count)]
        for one in self.all:
            one.start()
        atexit.register(self.end)

    def row(self, stopped):
        """The next Row, or None once `stopped` holds something."""
        while not stopped:
            try:
                return self.made.get(timeout=1)
            except queue.Empty:
                if not all(one.is_alive() for one in self.all):
                    raise SystemExit("A process that writes rows has ended: its error is above.")
        return None

    def end(self):
        """Ends them; they would not end for SIGTERM."""
        for one in self.all:
            one.kill()


def whole_answers(row, right):
    """Whether all tokens of each answer are right, of the answers' tokens' `right` [A], and whether it is far."""
    places = row.rows[row.answer]
    begins = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    if len(begins) == 0:
        return np.zeros(0), np.zeros(0, dtype=bool)
    return np.minimum.reduceat(right, begins), row.far[row.answer][begins]
