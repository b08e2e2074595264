"""Runtime as a real web server, which keeps pages and releases in a folder of its own by the agreed protocol."""

import io
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from automation.runtime import releases, store
from automation.runtime.files import remove_folder
from automation.runtime.health import check_release
from tests.integration.neighbours import Answer, Neighbour, Request


class Runtime(Neighbour):
    """Docs/services.md, taken at its word."""

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__()
        self.answer = self.serve

    def serve(self, request: Request) -> Answer:
        assert request.path.startswith("/api/projects/")
        assert request.path.endswith("/")
        project, *rest = map(unquote, request.path.removeprefix("/api/projects/").strip("/").split("/"))
        match request.method, *rest:
            case "PUT", "pages", page_id:
                return self._save(project, page_id, request.json)
            case "POST", "pages", page_id, "restore":
                stamp = _stamp(request.json)
                return 200, {"restored": store.restore_page(self.root, project, page_id, stamp)}
            case "GET", "pages":
                return 200, {"pages": store.list_pages(self.root, project)}
            case "PUT", "releases", version:
                return self._store(project, version, request.body)
            case "GET", "releases":
                known = releases.overview(self.root, project)
                return 200, {"releases": known.versions, "environments": known.environments}
            case ("DELETE",):
                remove_folder(self.root / project)
                return 200, {}
            case "POST", "environments", name:
                return self._switch(project, name, request.json)
        return 404, {}

    def _save(self, project: str, page_id: str, body: dict[str, Any]) -> Answer:
        stamp = _stamp(body)
        if body["page"] is None:
            result = store.delete_page(self.root, project, page_id, stamp)
        elif body["dry_run"]:
            result = store.preview_save(self.root, project, body["page"], stamp)
        else:
            result = store.save_page(self.root, project, body["page"], stamp, backup_previous=body["backup_previous"])
        return 200, {"saved": result.saved, "previous": result.previous, "reason": result.reason}

    def _store(self, project: str, version: str, archive: bytes) -> Answer:
        folder = releases.release_folder(self.root, project, version)
        if not folder.is_dir():
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(folder, filter="data")
        faults = check_release(folder).faults
        return (422, {"detail": faults}) if faults else (201, {})

    def _switch(self, project: str, name: str, body: dict[str, Any]) -> Answer:
        version, live = body["version"], releases.live_version(self.root, project, name)
        if live != body.get("if_live", live):
            return 200, {"live": live, "previous": None}
        if version is None:
            releases.withdraw(self.root, project, name)
            return 200, {"live": None, "previous": live}
        if version not in releases.list_releases(self.root, project):
            return 404, {"detail": f"no release {version}"}
        if live is not None and live > version and not body["even_if_older"]:
            return 200, {"live": live, "previous": None}
        releases.switch(self.root, project, name, version)
        return 200, {"live": version, "previous": live}


def _stamp(body: dict[str, Any]) -> store.Stamp:
    return store.Stamp(datetime.fromisoformat(body["occurred_at"]), body["version"], body["execution_id"])
