"""Reading generated HTML as a browser would, to ask what is in it."""

from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta", "source", "track"}
ADDRESSES = {
    "href",
    "src",
    "action",
    "formaction",
    "poster",
    "xlink:href",
    "data",
    "background",
    "srcset",
    "cite",
}
Element = tuple[str, dict[str, str]]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing that is open"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> _Reader:
    """All elements and texts; fails when an element is closed that is not open, or stays open."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def elements(html: str, tag: str) -> list[dict[str, str]]:
    """The attributes of every element of that name."""
    return [attributes for name, attributes in read(html).elements if name == tag]


def text_of(html: str) -> str:
    """All text, with every run of blanks as one."""
    return " ".join(" ".join(read(html).texts).split())


def active_content(html: str) -> list[str]:
    """Everything that could run, or load what is not ours."""
    found = []
    for tag, attributes in read(html).elements:
        ours = tag == "script" and set(attributes) == {"src", "defer"} and attributes["src"].endswith("assets/site.js")
        if tag in {"script", "style", "iframe", "object", "embed", "base", "math", "template"} and not ours:
            found.append(tag)
        found += [f"{tag} {name}" for name in attributes if name.startswith("on") or name == "srcdoc"]
        for name in ADDRESSES & set(attributes):
            address = "".join(character for character in attributes[name] if character > " ").lower()
            scheme = address.split(":")[0] if ":" in address.split("/")[0] else ""
            if scheme not in {"", "http", "https", "mailto", "tel"} and not address.startswith("data:image/"):
                found.append(f"{tag} {name}={address}")
        style = attributes.get("style", "").lower()
        found += [
            f"{tag} style {word}" for word in ("url(", "expression", "javascript", "import", "<") if word in style
        ]
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            found.append("meta refresh")
    return found
