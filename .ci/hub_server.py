"""A stand-in for the Hugging Face hub on this machine: folders, served as its clients ask.

    python .ci/hub_server.py ROOT [--port 8123]
    export HF_ENDPOINT=http://127.0.0.1:8123 HF_HUB_DISABLE_XET=1

ROOT/models/OWNER/NAME and ROOT/datasets/OWNER/NAME are the repositories. Their commit is a digest
of their files. A folder NAME@LABEL beside NAME is another revision of it, asked for as LABEL or
by its own commit.

A file `.fault` in a repository makes it misbehave. Each line is a word of FAULTS; `flipped` and
`short` concern large files, or the files that match a pattern after the word (`flipped *.json`).
Three tokens are known by what they may do: `good` may do all, `barred` is on no list of a gated
repository, and any other is refused.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

FAULTS = {
    "gated": "only the token `good` gets the files",
    "private": "only the token `good` sees that the repository exists",
    "broken": "every request is answered with 500",
    "limited": "every request is answered with 429",
    "hang": "no request is answered",
    "flipped": "the last 1,000 bytes of a file are inverted",
    "short": "a file's connection is closed half way",
}
LARGE = 100_000  # files of this many bytes or more go by their SHA-256, as on the hub
API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(.*))?")
RESOLVE = re.compile(r"(?:/(datasets))?/([^/]+/[^/]+)/resolve/([^/]+)/(.*)")
BATCH = re.compile(r"(?:/(datasets))?/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
DATE = "2026-01-01T00:00:00.000Z"


class Refusal(Exception):
    """A request that gets no data: its status, the hub's error code, and the message."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@cache
def _digests(path: Path, _size: int, _changed: int) -> tuple[str, str]:
    """The git blob id and the SHA-256 of a file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(), hashlib.sha256(
        data
    ).hexdigest()


def digests(path: Path) -> tuple[str, str]:
    """The git blob id and the SHA-256 of a file, computed once as long as it does not change."""
    facts = path.stat()
    return _digests(path, facts.st_size, facts.st_mtime_ns)


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a repository by their names in it."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path for path in paths if path.name != ".fault"}


def commit_of(folder: Path) -> str:
    """The commit of a folder: a digest of its names and contents."""
    lines = [f"{name} {digests(path)[0]}\n" for name, path in files_of(folder).items()]
    return hashlib.sha1("".join(lines).encode()).hexdigest()


def blob(path: Path) -> dict:
    """What the hub's listings say of a file."""
    size = path.stat().st_size
    small, large = digests(path)
    entry = {"size": size, "oid": small}
    if size >= LARGE:
        entry["lfs"] = {"oid": large, "size": size, "pointerSize": 134}
    return entry


@dataclass(frozen=True)
class Repository:
    """One repository: `kind` is models or datasets, `folder` holds its main revision."""

    kind: str
    name: str
    folder: Path

    def faults(self) -> dict[str, str]:
        """The faults by name, each with the pattern of the files that it concerns."""
        file = self.folder / ".fault"
        lines = file.read_text().splitlines() if file.is_file() else []
        words = [line.split(None, 1) for line in lines if line.strip()]
        return {word[0]: word[1] if len(word) > 1 else "" for word in words}

    def admit(self, token: str) -> None:
        """Let an asker in. `Refusal` for what keeps it out; a hanging hub does not return."""
        faults, known = self.faults(), token == "good"
        if not self.folder.is_dir() or ("private" in faults and not known):
            self._refuse_unknown(known)
        if "gated" in faults and not known:
            self._refuse_gated(bool(token))
        if "limited" in faults:
            raise Refusal(429, "", "We had to rate limit your IP.")
        if "broken" in faults:
            raise Refusal(500, "", "Internal Error")
        if "hang" in faults:
            time.sleep(3600)

    def _refuse_unknown(self, known: bool) -> None:
        if known:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        raise Refusal(401, "RepoNotFound", "Invalid username or password.")

    def _refuse_gated(self, known: bool) -> None:
        text = f"Access to {self.kind[:-1]} {self.name} is restricted"
        if known:
            text += " and you are not in the authorized list. "
            text += f"Visit https://huggingface.co/{self.name} to ask for access."
            raise Refusal(403, "GatedRepo", text)
        text += ". You must have access to it and be authenticated to access it. Please log in."
        raise Refusal(401, "GatedRepo", text)

    def at(self, revision: str) -> Path:
        """The folder of a revision: main, a label, or a commit. `Refusal` when there is none."""
        if revision == "main":
            return self.folder
        for folder in self._revisions():
            if revision in (commit_of(folder), folder.name.partition("@")[2]):
                return folder
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _revisions(self) -> list[Path]:
        return [self.folder, *sorted(self.folder.parent.glob(f"{self.folder.name}@*"))]

    def spoils(self, fault: str, name: str, size: int) -> bool:
        """Whether a fault concerns a file."""
        pattern = self.faults().get(fault)
        if pattern is None:
            return False
        return fnmatch(name, pattern) if pattern else size >= LARGE


def listing(folder: Path, inside: str, recursive: bool) -> list[dict]:
    """The entries of a repository below the folder `inside` ('' for all), as the hub lists them."""
    entries: dict[str, dict] = {}
    start = f"{inside}/" if inside else ""
    for name, path in files_of(folder).items():
        if not name.startswith(start):
            continue
        parts = name[len(start) :].split("/")
        parents = parts[:-1] if recursive else parts[:-1][:1]
        for depth in range(len(parents)):
            parent = start + "/".join(parts[: depth + 1])
            entry = {"type": "directory", "oid": "0" * 40, "size": 0, "path": parent}
            entries.setdefault(parent, entry)
        if recursive or len(parts) == 1:
            entries[name] = {"type": "file", "path": name, **blob(path)}
    if inside and not entries:
        raise Refusal(404, "EntryNotFound", f'{inside} does not exist on "main"')
    return list(entries.values())


def byte_range(asked: str, size: int) -> tuple[int, int] | None:
    """The first and the last byte that a Range header asks for; None when it asks for all."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
    if not match or not size:
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


class Handler(BaseHTTPRequestHandler):
    """One connection of a client; the server's `root` holds the repositories."""

    protocol_version = "HTTP/1.1"
    server: "Hub"

    def log_message(self, form: str, *values) -> None:
        """Keep a line for each request: method, path, status."""
        line = f"{self.command} {unquote(self.path)} {values[1] if len(values) > 1 else ''}"
        self.server.requests.append(line)
        if self.server.verbose:
            print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)

    def do_GET(self) -> None:
        """Answer a question about a repository, or send a file."""
        self._answer(self._get)

    def do_HEAD(self) -> None:
        """The same without the body."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a question with a body, create a repository, or take a commit."""
        self._answer(self._post)

    def do_PUT(self) -> None:
        """Take a large file, before the commit that names it."""
        self._answer(self._put)

    def _answer(self, method) -> None:
        try:
            token = self._token()
            if token not in ("", "good", "barred"):
                raise Refusal(401, "", "Invalid credentials in Authorization header")
            method()
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self._reply({"error": refusal.message}, refusal.status, headers)

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _reply(self, body, status: int = 200, headers: dict | None = None) -> None:
        """Send bytes, or any other value as JSON."""
        headers = dict(headers or {})
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        headers.setdefault("Content-Length", str(len(body)))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _repository(self, kind: str | None, name: str) -> Repository:
        kind = kind or "models"
        folder = self.server.root / kind / name
        if not folder.resolve().is_relative_to(self.server.root.resolve()):
            raise Refusal(404, "RepoNotFound", "Repository not found")
        repository = Repository(kind, name, folder)
        repository.admit(self._token())
        return repository

    def _get(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if path == "/api/whoami-v2":
            self._whoami()
        elif match := API.fullmatch(path):
            repository = self._repository(match[1], match[2])
            self._describe(repository, match[3] or "revision/main", parse_qs(url.query))
        elif match := RESOLVE.fullmatch(path):
            self._send(self._repository(match[1], match[2]), match[3], match[4])
        else:
            raise Refusal(404, "", f"no such page: {path}")

    def _whoami(self) -> None:
        if not self._token():
            raise Refusal(401, "", "Invalid username or password.")
        access = {"accessToken": {"role": "write", "displayName": "test"}}
        self._reply({"type": "user", "name": "me", "orgs": [], "auth": access})

    def _describe(self, repository: Repository, what: str, query: dict) -> None:
        kind, _, rest = what.partition("/")
        revision, _, inside = rest.partition("/")
        if kind == "revision":
            self._info(repository, revision)
        elif kind == "tree":
            recursive = query.get("recursive", [""])[0].lower() in ("true", "1")
            self._reply(listing(repository.at(revision), inside.rstrip("/"), recursive))
        else:
            raise Refusal(404, "", f"no such page: {what}")

    def _info(self, repository: Repository, revision: str) -> None:
        folder = repository.at(revision)
        facts = {
            "_id": "0",
            "id": repository.name,
            "modelId": repository.name,
            "author": repository.name.split("/")[0],
            "sha": commit_of(folder),
            "private": "private" in repository.faults(),
            "gated": "gated" in repository.faults(),
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": DATE,
            "createdAt": DATE,
            "siblings": [{"rfilename": name} for name in files_of(folder)],
        }
        self._reply(facts)

    def _send(self, repository: Repository, revision: str, name: str) -> None:
        """A file, or the asked range of it, with the faults of its repository."""
        folder = repository.at(revision)
        path = folder / name
        headers = {"X-Repo-Commit": commit_of(folder), "Accept-Ranges": "bytes"}
        if name not in files_of(folder):
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self._reply({"error": "Entry not found"}, 404, headers)
            return
        data, entry = path.read_bytes(), blob(path)
        headers["ETag"] = f'"{entry.get("lfs", entry)["oid"]}"'
        if "lfs" in entry:
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": headers["ETag"]}
        if repository.spoils("flipped", name, len(data)):
            data = data[:-1000] + bytes(byte ^ 255 for byte in data[-1000:])
        part = byte_range(self.headers.get("Range") or "", len(data))
        if part:
            headers["Content-Range"] = f"bytes {part[0]}-{part[1]}/{len(data)}"
            data = data[part[0] : part[1] + 1]
        if repository.spoils("short", name, path.stat().st_size):
            headers["Content-Length"] = str(len(data))
            data = data[: len(data) // 2]
            self.close_connection = True
        self._reply(data, 206 if part else 200, headers)

    def _post(self) -> None:
        path, sent = unquote(urlsplit(self.path).path), self._body()
        if path == "/api/validate-yaml":
            self._reply({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(sent))
        elif BATCH.fullmatch(path):
            self._announce(json.loads(sent)["objects"])
        elif match := API.fullmatch(path):
            self._take(self._repository(match[1], match[2]), match[3] or "", sent)
        else:
            raise Refusal(404, "", f"no such page: {path}")

    def _may_write(self) -> None:
        if self._token() != "good":
            raise Refusal(401, "", "Invalid username or password.")

    def _create(self, asked: dict) -> None:
        self._may_write()
        kind = f"{asked.get('type') or 'model'}s"
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        folder = self.server.root / kind / name
        url = f"{self.server.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if folder.is_dir():
            message = "You already created this repo"
            self._reply({"error": message, "url": url}, 409, {"X-Error-Message": message})
            return
        folder.mkdir(parents=True)
        self._reply({"url": url, "name": name, "id": name})

    def _announce(self, objects: list[dict]) -> None:
        """Where each large file is to be sent."""
        entries = []
        for item in objects:
            upload = {"href": f"{self.server.url}/lfs/{item['oid']}"}
            entries.append({**item, "actions": {"upload": upload}})
        self._reply({"transfer": "basic", "objects": entries})

    def _take(self, repository: Repository, what: str, sent: bytes) -> None:
        kind, _, revision = what.partition("/")
        if kind == "paths-info":
            self._facts(repository.at(revision), sent)
        elif kind == "preupload":
            self._sort(json.loads(sent)["files"])
        elif kind == "commit":
            self._commit(repository, sent)
        else:
            raise Refusal(404, "", f"no such page: {what}")

    def _facts(self, folder: Path, sent: bytes) -> None:
        form = parse_qs(sent.decode()) if b"paths=" in sent else json.loads(sent)
        files = files_of(folder)
        names = [name for name in form["paths"] if name in files]
        self._reply([{"type": "file", "path": name, **blob(files[name])} for name in names])

    def _sort(self, files: list[dict]) -> None:
        """Say of each file whether it comes with the commit or before it."""
        entries = []
        for file in files:
            mode = "lfs" if file["size"] >= LARGE else "regular"
            entries.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        self._reply({"files": entries})

    def _commit(self, repository: Repository, sent: bytes) -> None:
        self._may_write()
        for line in sent.decode().splitlines():
            entry = json.loads(line)
            self._apply(repository.folder, entry["key"], entry["value"])
        commit = commit_of(repository.folder)
        url = f"{self.server.url}/{repository.name}/commit/{commit}"
        self._reply({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def _apply(self, folder: Path, key: str, value: dict) -> None:
        if key not in ("file", "lfsFile", "deletedFile"):
            return
        target = folder / value["path"]
        if key == "deletedFile":
            target.unlink()
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if key == "file":
            target.write_bytes(base64.b64decode(value["content"]))
        else:
            target.write_bytes((self.server.root / "lfs" / value["oid"]).read_bytes())

    def _put(self) -> None:
        folder = self.server.root / "lfs"
        folder.mkdir(exist_ok=True)
        (folder / Path(self.path).name).write_bytes(self._body())
        self._reply(b"")


class Hub(ThreadingHTTPServer):
    """The server: `url` for HF_ENDPOINT, `requests` with a line for each request so far."""

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0, verbose: bool = False):
        super().__init__(("127.0.0.1", port), Handler)
        self.root, self.verbose = root, verbose
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is nothing to report."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(root: Path) -> Iterator[Hub]:
    """The hub of a folder, for as long as the block runs."""
    hub = Hub(root)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="the folder with models/ and datasets/")
    parser.add_argument("--port", type=int, default=8123)
    given = parser.parse_args()
    hub = Hub(given.root, given.port, verbose=True)
    print(f"export HF_ENDPOINT={hub.url} HF_HUB_DISABLE_XET=1", flush=True)
    hub.serve_forever()
