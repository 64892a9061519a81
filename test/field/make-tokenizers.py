#!/usr/bin/env python3
"""Small tokenizers built like published ones, and the ids that transformers gives with them.

    pip install transformers        # 5.x, which brings tokenizers; no PyTorch is needed
    python test/field/make-tokenizers.py test/field/tokenizers --text README.md docs/*.md examples/moby-dick.txt

Every folder of OUT has tokenizer.json and tokenizer_config.json with the steps, special tokens and flags of the model
that it is named after, a vocabulary of its own (learned from the texts), and expected.json: what stands before and behind
a text, and [text, ids] of tricky strings, special tokens included.
"""
import argparse
import json
import random
from pathlib import Path

import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SEED = 20260102
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + TAIL
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + TAIL
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]""" + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
            r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior, invert=False)


def byte_level(texts, steps, size=700, **options):
    """A byte-level BPE whose words are split by `steps`."""
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


def sentence_piece(texts, size=700, specials=("<unk>", "<s>", "</s>")):
    """A BPE as converted from SentencePiece: specials, bytes, pieces that never have a space inside, runs of spaces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    pieces = [piece for piece, _ in sorted(model["vocab"].items(), key=lambda each: each[1])]
    runs = ["\u2581" * n for n in (2, 4, 8)]
    merges = [tuple(merge) for merge in model["merges"]] + [(run[: len(run) // 2],) * 2 for run in runs]
    vocabulary = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, *(run for run in runs if run not in pieces)]
    tokenizer = Tokenizer(models.BPE({piece: n for n, piece in enumerate(vocabulary)}, merges, unk_token=specials[0],
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    return tokenizer


def legacy(tokenizer):
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return tokenizer


def template(tokenizer, single):
    names = [part.split(":")[0] for part in single.split() if not part.startswith("$")]
    return processors.TemplateProcessing(single=single, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names])


def special(tokenizer, *names):
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    return tokenizer


def llama_2(texts):
    tokenizer = legacy(sentence_piece(texts))
    tokenizer.post_processor = template(tokenizer, "<s>:0 $A:0")
    return tokenizer, {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False,
                       "bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": False, "normalized": False,
                                     "rstrip": False, "single_word": False},
                       "eos_token": "</s>", "unk_token": "<unk>", "legacy": False}


def llama_2_with_end(texts):
    tokenizer, config = llama_2(texts)
    return tokenizer, {**config, "add_eos_token": True}


def mistral_3(texts):
    """With the Metaspace that newer conversions have, and control tokens that are not special."""
    tokenizer = sentence_piece(texts)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.add_tokens([AddedToken("[INST]", normalized=False), AddedToken("[/INST]", normalized=True)])
    tokenizer.post_processor = template(tokenizer, "<s>:0 $A:0")
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True, "add_eos_token": False,
                       "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def yi(texts):
    tokenizer = legacy(sentence_piece(texts, specials=("<unk>", "<|startoftext|>", "<|endoftext|>")))
    tokenizer.add_tokens([AddedToken("<|im_start|>", normalized=False, rstrip=True, lstrip=True)])
    tokenizer.post_processor = template(tokenizer, "<|startoftext|>:0 $A:0")
    return tokenizer, {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "add_eos_token": False,
                       "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"}


def llama_3(texts):
    steps = [split(LLAMA3), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer = special(byte_level(texts, steps, ignore_merges=True), "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template(tokenizer, "<|begin_of_text|>:0 $A:0")])
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>",
                       "eos_token": "<|end_of_text|>", "clean_up_tokenization_spaces": True}


def qwen_2(texts):
    steps = [split(QWEN2), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer = special(byte_level(texts, steps), "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_prefix_space": False,
                       "bos_token": None, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": None}


def smollm_2(texts):
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer = special(byte_level(texts, steps), "<|endoftext|>", "<|im_start|>", "<|im_end|>")
    return tokenizer, {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "bos_token": "<|endoftext|>",
                       "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}


def mistral_nemo(texts):
    steps = [split(TEKKEN), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer = special(byte_level(texts, steps), "<unk>", "<s>", "</s>", "[INST]")
    tokenizer.post_processor = template(tokenizer, "<s>:0 $A:0")
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
                       "add_bos_token": False, "add_eos_token": True}  # this class ignores it


def deepseek_r1(texts):
    """Steps of DeepSeek-V3; bos comes from add_bos_token, the post-processor adds none."""
    steps = [split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK),
             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer = special(byte_level(texts, steps), "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>")
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False,
                       "bos_token": "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "eos_token": "<\uff5cend\u2581of\u2581sentence\uff5c>"}


def odd_steps(texts):
    """Steps that are rare: words by other rules, added tokens with flags, RoBERTa's starts and ends."""
    steps = [pre_tokenizers.Punctuation("merged_with_previous"), split(r"[\-_]", "merged_with_next"),
             pre_tokenizers.Split("=", "contiguous", invert=False), pre_tokenizers.Digits(individual_digits=False),
             pre_tokenizers.ByteLevel(add_prefix_space=True)]
    tokenizer = special(byte_level(texts, steps), "<s>", "</s>")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace("``", "\"")])
    tokenizer.add_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("Sea", single_word=True, normalized=False),
                          AddedToken("WHALE", normalized=True), AddedToken("<r>", rstrip=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")))
    return tokenizer, None


STYLES = {"llama-2": llama_2, "llama-2-with-end": llama_2_with_end, "mistral-0.3": mistral_3, "yi": yi, "llama-3": llama_3,
          "qwen-2.5": qwen_2, "smollm-2": smollm_2, "mistral-nemo": mistral_nemo, "deepseek-r1": deepseek_r1,
          "odd-steps": odd_steps}


def tricky(texts, tokens, count):
    """Strings that tokenizers get wrong, special tokens among them."""
    draw = random.Random(SEED)
    words = " ".join(texts).split()
    odd = ["", " ", "   ", "\n", " \n\n x", "\t", "don't I'LL we've o'clock", "12345678 3.14", "caf\u00e9 cafe\u0301", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u30fb\u3001",
           "\ud55c\uad6d\uc5b4", "\u039f\u0394\u039f\u03a3 \u03c2", "\u05e2\u05d1\u05e8\u05d9\u05ea", "\u0928\u092e\u0938\u094d\u0924\u0947", "\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7", "\ufeffx", "\u00a0x\u0085", "``=-_==", "a_b-c--d",
           "Sea Seaside oversea", "WHALE whale whales", "\u2581\u2581a", "\u2581", "\ufb01ne \u00bd \u2167 \u0663\u0664", "{}[]()<>", "!!!???...", "x=1;\ty=2", "A" * 40, "ab" * 30,
           " " * 17, "\r\n\r\n", "\u0130stanbul", "\u3042\u3042\u3042\u3042 \u30fc", "<0x0A>", "\u202fx\u3000y"]
    strings = list(odd)
    while len(strings) < count:
        parts = [draw.choice(words) if draw.random() < 0.5 else draw.choice(odd + tokens) for _ in range(draw.randint(1, 7))]
        strings.append(draw.choice(["", " ", "  ", "\n", "'", "."]).join(parts))
    return strings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="texts to learn from")
    parser.add_argument("--count", type=int, default=130, help="strings per tokenizer")
    options = parser.parse_args()
    texts = [path.read_text(encoding="utf8") for path in options.text]
    for name, make in STYLES.items():
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer, config = make(texts)
        # Compact, and without what differs from run to run.
        (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n", encoding="utf8")
        if config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf8")
        loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if config and config["tokenizer_class"].startswith("Llama"):
            # What LlamaTokenizerFast of transformers 4 makes of its flags, whatever the file has; that of version 5 builds
            # all steps anew. Other classes leave the file's post-processor as it is, in both versions.
            bos, eos = (each["content"] if isinstance(each, dict) else each for each in (config["bos_token"], config["eos_token"]))
            loaded.post_processor = template(loaded, " ".join(
                [f"{bos}:0"] * config["add_bos_token"] + ["$A:0"] + [f"{eos}:0"] * config["add_eos_token"]))
            fast = PreTrainedTokenizerFast(tokenizer_object=loaded)
        else:
            fast = PreTrainedTokenizerFast.from_pretrained(folder) if config else PreTrainedTokenizerFast(tokenizer_object=loaded)
        tokens = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        around = fast.encode("a")
        bare = fast.encode("a", add_special_tokens=False)
        at = next(n for n in range(len(around) + 1) if around[n:n + len(bare)] == bare)
        cases = [[text, fast.encode(text)] for text in tricky(texts, tokens, options.count)]
        (folder / "expected.json").write_text(json.dumps({
            "transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
            "rows": max(tokenizer.get_vocab().values()) + 1, "starts": around[:at], "ends": around[at + len(bare):]},
            ensure_ascii=False)[:-1] + ', "cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n", encoding="utf8")
        print(name, tokenizer.get_vocab_size(), "starts", around[:at], "ends", around[at + len(bare):])


if __name__ == "__main__":
    main()
