"""The command `automation`: one module a noun, and what they share.

    app            all commands together; how a command ends
    installation   what works on the local installation itself: up, env, db, deploy, serve, sites, mirror, worker
    importing      import: projects and pages from before
    workflows …    the nouns of the API, over HTTP
    verbs          what they do alike: list, show, send, delete
    remote         the connection to the API
    options        options that many have, and the files that they read
    formatting     tables, times and JSON on a terminal

Nothing is imported before it is needed: `automation --help` and the completion of a shell have to be quick.
"""

from automation.cli.app import app, main

__all__ = ["app", "main"]
