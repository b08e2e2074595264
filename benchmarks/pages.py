"""The work: pages of about 4 KB with 20 components, each distinct by its number and version."""

from typing import Any, NamedTuple

Json = dict[str, Any]

PROJECTS = 50
"""Projects that the pages belong to, in turn."""

_LINES = (
    "Une lampe de bureau en laiton brossé, montée à la main dans notre atelier.",
    "Livraison en trois jours ouvrés, retour gratuit sous trente jours.",
    "Chaque pièce porte un numéro de série et le nom de qui l'a faite.",
)


def page(number: int, version: int = 1) -> Json:
    """Page `number` in its version `version`, as Studio's events carry it."""
    return {
        "id": f"page-{number}",
        "name": f"Page {number}",
        "route": f"/pages/{number}",
        "version": version,
        "config": {
            "layout": "grid",
            "breakpoints": {"mobile": 480, "tablet": 768, "desktop": 1200},
            "components": [_component(position, number, version) for position in range(20)],
            "styles": {"primaryColor": "#2563eb", "fontFamily": "Inter, sans-serif", "spacing": "16px"},
        },
    }


class Edit(NamedTuple):
    """Somebody changed a page; made into JSON only when it is sent, as 30,000 pages are 600 MB of objects."""

    number: int
    version: int = 1
    prefix: str = "project"

    @property
    def project_id(self) -> str:
        return f"{self.prefix}-{self.number % PROJECTS}"

    def data(self) -> Json:
        """What an event says of it."""
        return {
            "project_id": self.project_id,
            "user_id": f"user-{self.number % 7}",
            "page": page(self.number, self.version),
        }


def _component(position: int, number: int, version: int) -> Json:
    kind = ("Header", "Text", "Card", "Image")[position % 4]
    return {
        "id": f"{kind.lower()}-{position}",
        "type": kind,
        "position": {"x": 0, "y": 2 * position, "width": 12, "height": 2},
        "config": _config(kind, position, number, version),
    }


def _config(kind: str, position: int, number: int, version: int) -> Json:
    line = _LINES[(position + version) % len(_LINES)]
    match kind:
        case "Header":
            return {"title": f"Page {number}, section {position}, version {version}", "level": 2}
        case "Text":
            return {"text": f"{line} (version {version})"}
        case "Card":
            return {"title": f"Article {number}-{position}", "text": line}
        case _:
            return {"src": f"https://cdn.example.org/{number}/{position}.jpg", "alt": f"Article {position}"}
