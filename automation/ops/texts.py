"""The words of the pages: one catalogue (`texts.yaml`), and the language that a request is answered in. Pure."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

LANGUAGES = ("en", "fr")


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Of each text what it is in each language."""
    loaded: dict[str, dict[str, str]] = yaml.safe_load((Path(__file__).parent / "texts.yaml").read_text())
    return loaded


class Texts:
    """The catalogue in one language: `t("signed_in_as", name=…)`. Which texts there are, a test checks."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, text: str, **values: object) -> str:
        return catalogue()[text][self.language].format(**values)

    def of(self, group: str, name: str) -> str:
        """A word of ours for a name that may be any: the name itself, where we have none."""
        found = catalogue().get(f"{group}_{name}")
        return found[self.language] if found else name


def language_of(accepted: str, default: str) -> str:
    """The language that a browser likes best of ours, by its `Accept-Language`; `default` when it names none."""
    wanted: list[tuple[float, str]] = []
    for one in accepted.split(",")[:20]:
        name, _, quality = one.strip().partition(";")
        try:
            liking = float(quality.strip().removeprefix("q=")) if quality else 1.0
        except ValueError:
            continue
        language = name.strip().lower().partition("-")[0]
        if language in LANGUAGES and liking > 0:
            wanted.append((-liking, language))
    return min(wanted, key=lambda one: one[0])[1] if wanted else default
