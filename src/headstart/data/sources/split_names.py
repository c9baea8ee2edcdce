"""Names of splits: the conventional ones, and those that people give folders in several languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["SplitNames", "is_for_prediction", "parse_split", "recognize_splits"]

_CONVENTIONAL = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_VOCABULARY = """
train: train training trainings trains trn learn learning entrenamiento entrenar entraînement entrainement
train: apprentissage treino treinamento treinar addestramento allenamento trainieren lernen trening träning opleiding
train: eğitim egitim обучение обучающая тренировка тренировочная 训练 訓練 学習 トレーニング 훈련 학습 تدريب प्रशिक्षण
validation: val valid validation validate dev devel validación validacion validação validacao convalida validazione
validation: validierung walidacja validering validatie doğrulama dogrulama валидация валидационная проверка проверочная
validation: 验证 驗證 検証 バリデーション 검증 تحقق सत्यापन
test: test testing tests tst teste testes prueba pruebas prova testen testowy próba prøve тест тестирование тестовая
test: 测试 測試 テスト 試験 테스트 시험 اختبار परीक्षण
evaluation: eval evaluation evaluate evaluación avaliação évaluation bewertung holdout heldout
prediction: pred predict prediction predictions unlabeled unlabelled unlabel submission inference
data: set sets data dataset datasets database image images img imgs im photo photos pic pics picture pictures sample
data: samples folder dir split part the of for jpg jpeg png daten datensatz bilder imagen imágenes imagenes dati dados
data: datos données donnees foto fotos immagini imagens набор данные выборка 集 数据 图像 图片 データ 画像 이미지
"""
"""Words that names of folders are made of, by what they stand for."""


def _words_for(meaning: str) -> frozenset[str]:
    lines = [line.partition(": ") for line in _VOCABULARY.split("\n")]
    return frozenset(word for name, _, words in lines if name == meaning for word in words.split())


_SPLIT_WORDS = {split: _words_for(split) for split in ("train", "validation", "test")}
_EVALUATION = _words_for("evaluation")  # of a test or validation split
_PREDICTION = _words_for("prediction")
_FILLERS = _words_for("data")  # what a name may have beside the word of the split
_KNOWN = frozenset().union(_EVALUATION, _PREDICTION, *_SPLIT_WORDS.values())


@dataclass(frozen=True)
class SplitNames:
    """What the names of sibling folders mean.

    ``splits`` maps names to splits; ``guessed`` are the names that are not conventional, so that the reading is told.
    """

    splits: Mapping[str, str]
    guessed: frozenset[str] = field(default_factory=frozenset)

    @property
    def distinct(self) -> set[str]:
        """The splits that occur."""
        return set(self.splits.values())


def parse_split(name: str) -> str | None:
    """Return the split that the conventional name of a folder, or a cell of a table, stands for; None: it is no split.

    >>> parse_split("Valid"), parse_split("cats")
    ('validation', None)
    """
    return _CONVENTIONAL.get(name.strip().lower())


def recognize_splits(names: Iterable[str]) -> SplitNames:
    """Tell which of the names of sibling folders are those of splits.

    A name is recognized if it has the word of one split, and beside it only words for data ("images", "set") and words
    that all of the names share. "eval" is the test split, or the validation split where another folder is the test
    split.

    >>> sorted(recognize_splits(["seg_train", "seg_test", "seg_pred"]).splits.items())
    [('seg_test', 'test'), ('seg_train', 'train')]
    >>> dict(recognize_splits(["train", "test_tube"]).splits)
    {'train': 'train'}
    """
    names = sorted(set(names))
    words = {name: _words(name) for name in names}
    shared = set.intersection(*map(set, words.values())) if len(names) > 1 else set()
    splits: dict[str, str] = {}
    evaluation: list[str] = []
    for name in names:
        split = parse_split(name) or _split_of(words[name], shared)
        if split:
            splits[name] = split
        elif _only(words[name], _EVALUATION, shared):
            evaluation.append(name)
    if "train" in splits.values():
        held_out = "validation" if "test" in splits.values() else "test"
        splits.update(dict.fromkeys(evaluation, held_out))
    return SplitNames(splits, frozenset(name for name in splits if parse_split(name) is None))


def is_for_prediction(name: str, siblings: Collection[str]) -> bool:
    """Whether a folder beside splits has images without labels, for which predictions are wanted.

    >>> is_for_prediction("seg_pred", ["seg_pred", "seg_train"]), is_for_prediction("extra", ["extra", "train"])
    (True, False)
    """
    shared = set.intersection(*(set(_words(each)) for each in {*siblings, name}))
    return _only(_words(name), _PREDICTION, shared)


def _split_of(words: list[str], shared: Collection[str]) -> str | None:
    return next((split for split, known in _SPLIT_WORDS.items() if _only(words, known, shared)), None)


def _only(words: list[str], known: Collection[str], shared: Collection[str]) -> bool:
    """Whether the words have one of ``known``, and no other that means something."""
    rest = [word for word in words if word not in _FILLERS and not (word in shared and word not in known)]
    return bool(rest) and all(word in known for word in rest)


def _words(name: str) -> list[str]:
    """The words of a name in lower case; "trainSet2", "train_set" and "trainset" are "train" and "set"."""
    text = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    words = re.findall(r"[^\W\d_]+", text.casefold())
    return [part for word in words for part in _parted(word)]


def _parted(word: str) -> list[str]:
    if word in _KNOWN or word in _FILLERS:
        return [word]
    for filler in sorted(_FILLERS, key=len, reverse=True):
        for rest in (word.removesuffix(filler), word.removeprefix(filler)):
            if rest != word and rest in _KNOWN:
                return [rest, filler]
    return [word]
