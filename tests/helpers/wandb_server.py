"""A stand-in for W&B's server: as much of it as the real client, `wandb sweep` and `wandb agent` ask for.

It keeps what it is sent, so that a test can look at it, and can be told to be slow, to hang or to answer errors.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml


@dataclass
class Run:
    """What the server holds of a run."""

    name: str
    project: str = ""
    sweep: str | None = None
    group: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exitcode: int | None = None
    times_begun: int = 0

    def logged(self, key: str) -> list[Any]:
        """The values of a metric, by step."""
        return [row[key] for _, row in sorted(self.history.items()) if key in row]


@dataclass
class SweepState:
    """A sweep that goes through its grid."""

    config: str
    todo: list[tuple[str, dict[str, Any]]]


class WandbServer:
    """The server; `with WandbServer() as server` runs it on a port of its own.

    Attributes:
        runs: What it was sent, by the run's id.
        asked: The operations it was asked for, in order.
        delay: Seconds it takes to answer.
        broken: Whether it answers every request with an error.
        hanging: Whether it takes requests and never answers.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, SweepState] = {}
        self.asked: list[str] = []
        self.delay, self.broken, self.hanging = 0.0, False, False
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._http.handle_error = lambda request, address: None  # type: ignore[method-assign]  # clients hang up
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> WandbServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """It goes away."""
        self._over.set()
        self._http.shutdown()
        self._http.server_close()

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables with which the client talks to this server and keeps its files in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        places = ("WANDB_DIR", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "0" * 40,
            "WANDB_ENTITY": "local",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_X_DISABLE_STATS": "true",
            "WANDB_X_DISABLE_META": "true",
            "WANDB_DISABLE_GIT": "true",
            **dict.fromkeys(places, str(folder)),
        }

    # The answers ------------------------------------------------------------------------------------------------------

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The data for one GraphQL operation; None for one that is not known."""
        name = re.search(r"(?:query|mutation)\s+(\w+)", query)
        operation = name.group(1) if name else ""
        with self._lock:
            self.asked.append(operation)
            method = getattr(self, f"_{operation}", None)
            return None if method is None else method(given)

    def _Viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "u", "username": "local", "entity": "local"}}

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        if run is None:
            return {"model": {"bucket": None}}
        rows = [json.dumps(row) for _, row in sorted(run.history.items())]
        bucket = {
            "id": run.name,
            "name": run.name,
            "summaryMetrics": json.dumps(run.summary),
            "logLineCount": 0,
            "historyLineCount": len(rows),
            "eventsLineCount": 0,
            "historyTail": json.dumps(rows[-1:]),
            "eventsTail": "[]",
            "config": json.dumps(run.config),
            "wandbConfig": '{"t": 1}',
        }
        return {"model": {"bucket": bucket}}

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(given["name"] or given["id"], Run(given["name"] or given["id"]))
        if given.get("project"):
            run.project = given["project"]
            run.times_begun += given.get("program") is not None or given.get("displayName") is not None
        run.sweep, run.group = given.get("sweep") or run.sweep, given.get("groupName") or run.group
        run.config.update(json.loads(given["config"]) if given.get("config") else {})
        entity = {"name": given.get("entity") or "local"}
        bucket = {"id": run.name, "name": run.name, "project": {"name": run.project, "entity": entity}}
        return {"upsertBucket": {"bucket": bucket}}

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        address = f"{self.url}/storage/{given['run']}"
        files = [{"name": name, "uploadUrl": f"{address}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "files": files}}

    def _UpsertSweep(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.get("id") or f"sweep{len(self.sweeps)}"
        if given.get("config"):
            parameters = yaml.safe_load(given["config"])["parameters"]
            choices = [form["values"] if "values" in form else [form["value"]] for form in parameters.values()]
            points = [dict(zip(parameters, values)) for values in itertools.product(*choices)]
            self.sweeps[name] = SweepState(given["config"], [(f"{name}run{n}", p) for n, p in enumerate(points)])
        project = {"name": given.get("projectName") or "fmlab", "entity": {"name": "local"}}
        return {"upsertSweep": {"sweep": {"name": name, "project": project}}}

    def _SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["sweep"]
        record = {"id": name, "name": name, "state": "RUNNING", "config": self.sweeps[name].config}
        return {"project": {"sweep": {**record, "runs": {"edges": []}}}}

    def _CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": given["sweep"]}}}

    def _Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        sweep, busy = self.sweeps[given["id"]], json.loads(given["runState"])
        commands: list[dict[str, Any]] = []
        if not busy:
            commands = [{"type": "exit"}]
            if sweep.todo:
                run_id, point = sweep.todo.pop(0)
                arguments = {name: {"value": value} for name, value in point.items()}
                program = yaml.safe_load(sweep.config)["program"]
                commands = [{"type": "run", "run_id": run_id, "program": program, "args": arguments}]
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    # What is sent -----------------------------------------------------------------------------------------------------

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Lines of history, the summary, and the end of a run."""
        with self._lock:
            run, files = self.runs[name], body.get("files") or {}
            for line in (files.get("wandb-history.jsonl") or {}).get("content", []):
                row = json.loads(line)
                run.history[int(row["_step"])] = row
            for line in (files.get("wandb-summary.json") or {}).get("content", []):
                run.summary = json.loads(line)
            if body.get("complete"):
                run.exitcode = body.get("exitcode")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is printed."""

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def _say(self, content: Any, code: int = 200) -> None:
                data = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _out_of_order(self) -> bool:
                time.sleep(server.delay)
                if server.hanging:
                    server._over.wait()
                if server.broken or server.hanging:
                    self._say({"error": "broken"}, 500)
                return server.broken or server.hanging

            def do_POST(self) -> None:
                body = self._body()
                if self._out_of_order():
                    return
                if self.path.endswith("/graphql"):
                    asked = json.loads(body)
                    data = server.answer(asked["query"], asked.get("variables") or {})
                    self._say({"errors": [{"message": "unsupported"}]} if data is None else {"data": data})
                elif self.path.endswith("/file_stream"):
                    server.stream(self.path.split("/")[-2], json.loads(body))
                    self._say({})
                else:
                    self._say({}, 404)

            def do_PUT(self) -> None:
                body = self._body()
                if self._out_of_order():
                    return
                _, _, name, file = unquote(self.path).split("/", 3)
                with server._lock:
                    server.runs[name].files[file] = body
                self._say({})

        return Handler
