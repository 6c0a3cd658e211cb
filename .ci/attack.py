"""Runs files of attacks on the sandbox: attack.py [--without LAYER,...] FILE...

They run in a throw-away namespace where the system allows one. A file has `CASES = [Case(id,
category, oracle, code), ...]` as plain literals; it is read, not executed. Layers that can be taken
away, to see that an attack works without them: namespaces, limits, landlock, seccomp.
"""

import ast
import fcntl
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

SECONDS, SECRET = 3, "a-secret-of-the-parent"
OWNER = """from semcoder.sandbox import Limits, Sandbox
box = Sandbox(1, Limits(seconds=600))
print(box.run("", "1").value, flush=True)
input()
box.run("while True: pass", "1")"""
WALLS = {
    "namespaces": ('    _enter_namespaces(folder, 4 * limits["file_mb"])\n', ""),
    "limits": ("    _limit_resources(limits)\n", "    _prctl(38, 1)\n"),
    "landlock": ("_landlock_rules(os.getcwd()), b", "-1, b"),
    "seccomp": ("numbers = _system_calls()", "numbers = {}"),
}


def enclosed() -> None:
    "Starts this script again inside namespaces of its own, once, if the system allows it."
    inside = [
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount",
        "--mount-proc",
        "--net",
    ]
    if (
        "ENCLOSED" in os.environ
        or not shutil.which("unshare")
        or subprocess.run([*inside, "true"], stderr=subprocess.DEVNULL).returncode
    ):
        return
    os.environ["ENCLOSED"] = "1"
    sys.stdout.flush()
    os.execvp(inside[0], [*inside, sys.executable, *sys.argv])


def settled() -> None:
    "Bounds the number of processes, and switches the loopback device of the new namespace on."
    with suppress(OSError):
        Path("/proc/sys/kernel/pid_max").write_text("3000")
    resource.setrlimit(resource.RLIMIT_NPROC, (3000, 3000))
    with socket.socket() as link:
        fcntl.ioctl(link, 0x8914, struct.pack("16sH14x", b"lo", 0x49))


def cases(path: str) -> list[list[str]]:
    "Id, category, oracle and code of every case in a file."
    found = [
        node.value
        for node in ast.parse(Path(path).read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "CASES"
    ]
    return [[ast.literal_eval(argument) for argument in call.args] for call in found[0].elts]


def canary(root: Path, victim: int) -> Path:
    "A folder with everything that an attack may want."
    folder = Path(tempfile.mkdtemp(dir=root))
    for name, text in (
        ("victim.txt", "untouched"),
        ("secret.txt", "secret"),
        ("victim.pid", str(victim)),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    for name in ("victimdir", "drop"):
        (folder / name).mkdir()
    return folder


def failure(oracle: str, passed: bool, folder: Path) -> bool:
    "Whether the sandbox failed a case."
    kind, _, name = oracle.partition(":")
    if kind == "file":
        return (folder / "drop" / name).exists()
    if kind == "changed":
        place = folder / name
        return not place.exists() or place.is_file() and place.read_text() != "untouched"
    return passed != (oracle == "pass") if oracle in ("pass", "fail") else passed


def lives(pid: int) -> bool:
    "Whether a process is there and not merely dead and waiting for its parent."
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def processes() -> set[int]:
    "The processes of this namespace."
    return {int(name) for name in filter(str.isdigit, os.listdir("/proc")) if lives(int(name))}


def attack(every: list, without: list[str], root: Path) -> list[str]:
    "Runs the cases, each followed by an honest program; returns a line for all that went wrong."
    from semcoder.sandbox import Job, Limits, Sandbox, same

    victim = subprocess.Popen(
        ["sleep", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    folders = [canary(root, victim.pid) for _ in every]
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Sandbox(8, Limits(seconds=SECONDS)) as box,
    ):
        for wall in without:
            for worker in box.workers:
                assert WALLS[wall][0] in worker.source
                worker.source = worker.source.replace(*WALLS[wall])
        port, honest = str(server.getsockname()[1]), Job("def f(x):\n    return x + 2\n", ["f(20)"])
        codes = [
            code.replace("{C}", str(folder)).replace("{PORT}", port).replace("{T}", str(SECONDS))
            for (*_, code), folder in zip(every, folders)
        ]
        jobs = []
        for (_, category, _, _), code in zip(every, codes):
            jobs += [Job(code, ["f(20)"] * (2 if category == "shared" else 1)), honest]
        outcomes = [run[-1] for run in box.map(jobs)]
    time.sleep(1.5)
    wrong = []
    for (name, _, oracle, _), folder, outcome, control in zip(
        every, folders, outcomes[::2], outcomes[1::2]
    ):
        passed = outcome.status == "ok" and same(outcome.value, "22")
        if failure(oracle, passed, folder):
            wrong.append(
                f"{name} ({oracle}): {outcome.status} {str(outcome.value or outcome.error)[:80]}"
            )
        if outcome.seconds > SECONDS + 6:
            wrong.append(f"{name}: took {outcome.seconds} s")
        if control.value != "22":
            wrong.append(f"the honest program after {name}: {control}")
    if victim.poll() is not None:
        wrong.append("the process beside the sandbox was killed")
    victim.kill()
    victim.wait()
    return wrong


def orphans() -> list[str]:
    """Kills the owner of a sandbox while a child runs; a line for each process that lives on."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout.readline() == "1\n"
    family, deadline = psutil.Process(owner.pid), time.monotonic() + 20
    workers = [process.pid for process in family.children(recursive=True)]
    owner.stdin.write("\n")
    owner.stdin.flush()
    while len(left := [process.pid for process in family.children(recursive=True)]) == len(workers):
        time.sleep(0.01)
    owner.kill()
    owner.communicate()
    while left and time.monotonic() < deadline:
        left = list(filter(lives, left))
        time.sleep(0.05)
    return [f"outlived the owner of its sandbox: {pid}" for pid in left]


def main() -> None:
    arguments = sys.argv[1:]
    without = (
        arguments.pop(0).split(",") if arguments[0] == "--without" and arguments.pop(0) else []
    )
    os.environ["SANDBOX_SECRET"] = SECRET
    every = [case for path in arguments for case in cases(path)]
    before, shared = processes(), set(os.listdir("/dev/shm"))
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as own:
        tempfile.tempdir = own
        wrong = attack(every, without, Path(root)) + orphans()
        wrong += [f"left in the temporary folder: {name}" for name in os.listdir(own)]
        tempfile.tempdir = None
    wrong += [f"left in /dev/shm: {name}" for name in set(os.listdir("/dev/shm")) - shared]
    if "ENCLOSED" in os.environ:
        wrong += [f"still running: {pid}" for pid in processes() - before]
    print(*wrong, sep="\n", end="\n" * bool(wrong))
    where = (
        "in a namespace of its own"
        if "ENCLOSED" in os.environ
        else "without a namespace, which this system refuses"
    )
    print(f"{len(every)} programs attacked the sandbox, {where}: {len(wrong)} failures")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    enclosed()
    if "ENCLOSED" in os.environ:
        settled()
    main()
