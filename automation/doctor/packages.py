"""Are the libraries of the versions that this program is made for? Imports nothing that could be broken."""

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from automation.doctor.findings import Findings, failed, ok, warning

PACKAGE = "automation"


def check() -> Findings:
    """Each library in the range that pyproject.toml gives: of Prefect and what breaks it (DESIGN §7) above all."""
    try:
        wanted = [Requirement(line) for line in requires(PACKAGE) or []]
    except PackageNotFoundError:
        return warning(
            "the package is not installed, so nobody knows what it needs", "pip install -c constraints.txt ."
        )
    wrong = problems([one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})])
    if wrong:
        return failed("; ".join(wrong), "pip install -c constraints.txt of this version, then restart every part")
    return ok(f"prefect {version('prefect')}, sqlalchemy {version('sqlalchemy')}, fastapi {version('fastapi')}")


def problems(wanted: list[Requirement]) -> list[str]:
    """What is missing, or of a version out of its range."""
    found = []
    for one in wanted:
        try:
            there = version(one.name)
        except PackageNotFoundError:
            found.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(there, prereleases=True):
            found.append(f"{one.name} {there} is not {one.specifier}")
    return found
