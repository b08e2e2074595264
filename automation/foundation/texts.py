"""What we write to people: one subject and body per event and language."""

from automation.steps import one_line

_SUBJECT_NAME = 60  # characters; a subject that is longer is cut by most programs anyway

_FOOTER = {
    "fr": "\n\n— Message automatique de la plateforme, sans réponse possible.\n",
    "en": "\n\n— Sent automatically by the platform; replies are not read.\n",
}

_TEXTS = {
    "fr": {
        "published": (
            "« {project} » est en ligne",
            "Bonjour,\n\nLa version {version} de « {project} » est en ligne ({environment}).\nAdresse : {path}",
        ),
        "promoted": (
            "« {project} » : une version est mise en service",
            "Bonjour,\n\nLa version {version} de « {project} » est maintenant en service ({environment}).\n"
            "Adresse : {path}",
        ),
        "rolled_back": (
            "« {project} » : retour à une version précédente",
            "Bonjour,\n\n« {project} » est revenu à la version {version} ({environment}).\nAdresse : {path}",
        ),
    },
    "en": {
        "published": (
            "“{project}” is live",
            "Hello,\n\nVersion {version} of “{project}” is live ({environment}).\nAddress: {path}",
        ),
        "promoted": (
            "“{project}”: a version was promoted",
            "Hello,\n\nVersion {version} of “{project}” is now in service ({environment}).\nAddress: {path}",
        ),
        "rolled_back": (
            "“{project}”: back to an earlier version",
            "Hello,\n\n“{project}” went back to version {version} ({environment}).\nAddress: {path}",
        ),
    },
}


_INCIDENTS = {
    "fr": {
        False: (
            "« {project} » : un traitement échoue",
            "Bonjour,\n\nLe traitement « {workflow} » de « {project} » a échoué {count} fois de suite.\n"
            "L'équipe de la plateforme est prévenue.",
        ),
        True: (
            "« {project} » : tout est rentré dans l'ordre",
            "Bonjour,\n\nLe traitement « {workflow} » de « {project} » fonctionne à nouveau.",
        ),
    },
    "en": {
        False: (
            "“{project}”: a workflow fails",
            "Hello,\n\nThe workflow “{workflow}” of “{project}” failed {count} times in a row.\n"
            "The team of the platform has been told.",
        ),
        True: (
            "“{project}”: all is well again",
            "Hello,\n\nThe workflow “{workflow}” of “{project}” works again.",
        ),
    },
}


def incident(language: str, *, over: bool, project: str, workflow: str, count: int) -> tuple[str, str]:
    """Subject and body of a message to a project's owner about a workflow that fails, or works again.

    Args: as of `text`.
    """
    subject, body = _INCIDENTS[language][over]
    name = one_line(project)
    values = {"project": name, "workflow": one_line(workflow), "count": str(count)}
    return subject.format(project=_cut(name)), body.format(**values) + _FOOTER[language]


def text(language: str, event: str, *, project: str, version: str, environment: str, path: str) -> tuple[str, str]:
    """Subject and body of a message about a release.

    Args:
        language: `fr` or `en`.
        event: `published`, `promoted` or `rolled_back`.
        project, version, environment, path: may come from outside; control characters are spelled out.
    """
    subject, body = _TEXTS[language][event]
    values = {
        "project": one_line(project),
        "version": one_line(version),
        "environment": one_line(environment),
        "path": one_line(path),
    }
    return subject.format(project=_cut(values["project"])), body.format(**values) + _FOOTER[language]


def _cut(name: str) -> str:
    return name if len(name) <= _SUBJECT_NAME else name[: _SUBJECT_NAME - 1] + "…"
