"""A whole Ringcast under ringcast-run, for tests of its processes.

Programs come from RINGCAST_BUILD (from the root of the tree, default build/release; build/asan and
build/tsan work, too) or from RINGCAST_BIN.  With RINGCAST_TEST_STORES=servers they use PostgreSQL.
"""
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import traceback
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("RINGCAST_BIN") or
                      os.path.join(ROOT, os.environ.get("RINGCAST_BUILD", "build/release")))
COMMS = {  # as /proc/PID/comm shows them: at most 15 characters
    "rc-forwarder": "forwarder",
    "rc-handshaker": "handshaker",
    "ringcast-datapl": "supervisor",
    "ringcast-contro": "controlplane",
}
ALL = set(COMMS.values())
SANITIZER_OPTIONS = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
EVENT_S = 60  # an event that takes longer will not happen
NOTICED_S = 1.0  # on a quiet machine, a death is noticed and the process replaced within this time


def built_with_sanitizer():
    with open(os.path.join(BIN, "ringcast-dataplane"), "rb") as f:
        return re.search(rb"__(asan|tsan)_init\b", f.read()) is not None


VARIANT_PATIENCE = 4 if built_with_sanitizer() else 1  # SANITIZER_PATIENCE of src/sanitizer.h


def patience():
    """Bounds on time are multiplied by this: it depends on the build and on the load of the machine."""
    with open("/proc/loadavg") as f:
        words = f.read().split()
    running = int(words[3].split("/")[0])
    return VARIANT_PATIENCE * max(1, max(float(words[0]), running) / os.cpu_count())


def wait_for(what, condition, seconds=EVENT_S):
    """Waits until condition() is true.  Returns the seconds it took; fails when it takes too long."""
    began = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - began
        if time.monotonic() - began > seconds * patience():
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def free_ports(kind, count):
    """The first of `count` consecutive ports that are free now."""
    for base in range(41000 + os.getpid() % 700 * 10, 49990, count):
        sockets = []
        try:
            for port in range(base, base + count):
                s = socket.socket(socket.AF_INET, kind)
                sockets.append(s)
                s.bind(("0.0.0.0", port))
            return base
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
    raise RuntimeError("no free ports")


def processes():
    """All processes of the machine: pid -> (parent, comm, state)."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    text = f.read()
            except OSError:
                continue
            name = text[text.index("(") + 1:text.rindex(")")]
            state, parent = text[text.rindex(")") + 2:].split()[:2]
            found[int(entry)] = (int(parent), name, state)
    return found


def thread_status(pid, thread=None):
    """The rows of /proc/PID/task/THREAD/status."""
    with open(f"/proc/{pid}/task/{thread or pid}/status") as f:
        return dict(line.rstrip("\n").split(":", 1) for line in f)


class Postgres:
    """One PostgreSQL server (tests/lib/postgres) for all instances, with a database for each."""
    server, databases = None, {}

    @classmethod
    def environment(cls, directory):
        if os.environ.get("RINGCAST_TEST_STORES") != "servers":
            return {}
        if cls.server is None:  # it ends when its standard input is closed, so with this process
            cls.server = subprocess.Popen([os.path.join(ROOT, "tests/lib/postgres")], text=True,
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            _, cls.port, cls.socket = cls.server.stdout.readline().split()
        if directory not in cls.databases:
            cls.databases[directory] = f"processes_{len(cls.databases)}"
            subprocess.run(["psql", "-qX", "-h", cls.socket, "-p", cls.port, "-U", "postgres", "-c",
                            f"CREATE DATABASE {cls.databases[directory]} OWNER videoconf"], check=True)
        return {"RINGCAST_PERSISTENCE": "postgres", "POSTGRES_HOST": "127.0.0.1",
                "POSTGRES_PORT": cls.port, "POSTGRES_PASSWORD": "videoconf password",
                "POSTGRES_DB": cls.databases[directory]}


class Instance:
    """A program and its children, with a data directory and ports of its own.

    settings: further environment variables.  config: the text of its configuration file.
    terminal: it gets a terminal of its own, whose other end is self.terminal.
    files: how many files each process may have open."""

    def __init__(self, directory=None, program="ringcast-run", wait=True, config=None, terminal=False,
                 files=None, **settings):
        self.top = directory or tempfile.mkdtemp(prefix="ringcast-processes-")
        os.chmod(self.top, 0o755)  # the user of run_as must reach the data directory
        self.data = os.path.join(self.top, "data")
        self.http = free_ports(socket.SOCK_STREAM, 1)
        self.media = free_ports(socket.SOCK_DGRAM, 4)
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.http),
            "RINGCAST_DATA": self.data,
            "MEDIASOUP_MIN_PORT": str(self.media),
            "MEDIASOUP_MAX_PORT": str(self.media + 3),
            "MEDIASOUP_NUM_WORKERS": "2",
            **SANITIZER_OPTIONS,
            **Postgres.environment(self.top),
            **{k: str(v) for k, v in settings.items()},
        }
        words = [os.path.join(BIN, program)]
        if files is not None:
            words = ["prlimit", f"--nofile={files}:{files}", *words]
        if config is not None:
            self.configure(config)
            words += ["--config", os.path.join(self.top, "ringcast.conf")]
        self.pids_seen = set()
        self.start(words, environment, terminal)
        if wait:
            try:
                wait_for("ready", self.is_ready)
            except AssertionError:
                self.end()
                raise AssertionError("not ready:\n" + self.log())

    def start(self, words, environment, terminal):
        self.terminal, theirs, become = None, subprocess.DEVNULL, None
        if terminal:
            self.terminal, theirs = os.openpty()

            def become():
                os.setsid()
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.log_path = os.path.join(self.top, "log")
        with open(self.log_path, "ab") as log:
            self.log_from = log.tell()
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log,
                                            stdin=theirs, preexec_fn=become)
        if terminal:
            os.close(theirs)

    def configure(self, text):
        path = os.path.join(self.top, "ringcast.conf")
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError("ended: " + self.log())
        return "Ringcast is r" in self.log() and set(self.pids()) == ALL

    def log(self):
        with open(self.log_path, errors="replace") as f:
            f.seek(self.log_from)
            return f.read()

    def pids(self):
        """name -> pid of all its processes."""
        table = processes()
        ours, grown = {self.process.pid}, True
        while grown:
            more = {p for p, (parent, _, _) in table.items() if parent in ours} - ours
            ours |= more
            grown = bool(more)
        # A child with its parent's name is no process of its own: it has not become one yet, or LeakSanitizer looks
        # at its parent, which ends.
        named = {COMMS[table[p][1]]: p for p in ours
                 if p in table and table[p][1] in COMMS and table[p][2] != "Z"
                 and table.get(table[p][0], (0, "", ""))[1] != table[p][1]}
        self.pids_seen |= set(named.values())
        return named

    def replaced(self, name, before, seconds=NOTICED_S):
        """Waits until `name` runs with another pid.  All other processes must still have theirs."""
        now = {}

        def is_back():
            now.clear()
            now.update(self.pids())
            return set(now) == ALL and now[name] != before[name]
        took = wait_for(f"{name} is back", is_back, seconds)
        for other in ALL - {name}:
            assert now[other] == before[other], \
                f"{other} changed its pid when {name} died: {self.log()[-3000:]}"
        return took

    def health(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/health", timeout=1) as r:
                return r.status
        except OSError:
            return 0

    def is_well(self):
        wait_for("healthy", lambda: self.health() == 200)

    def check(self):
        """The text of `ringcastctl check`."""
        out = subprocess.run([os.path.join(BIN, "ringcastctl"), "check", "--data-directory",
                              self.data], capture_output=True, text=True, timeout=EVENT_S)
        return out.stdout

    def header(self, region, pattern):
        """A value in the part of `ringcastctl check` about that region."""
        text = self.check().split(region + "\n", 1)[1]
        return re.search(pattern, text).group(1)

    def bound_ports(self):
        """Which of its four media ports are in use."""
        found = set()
        for name in ("udp", "udp6"):
            with open("/proc/net/" + name) as f:
                for line in f.readlines()[1:]:
                    port = int(line.split()[1].split(":")[1], 16)
                    if self.media <= port < self.media + 4:
                        found.add(port)
        return found

    def ports_are_free(self):
        """An io_uring closes its sockets a moment after its process has ended."""
        wait_for("ports are free", lambda: self.bound_ports() == set())

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(EVENT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.left_over():  # the test failed, or it killed ringcast-run itself
            os.kill(pid, signal.SIGKILL)

    def left_over(self):
        """Its processes that still run."""
        table = processes()
        return [p for p in self.pids_seen if p in table and table[p][2] != "Z"
                and table[p][1] in COMMS]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        shutil.rmtree(self.top, ignore_errors=True)


def run_tests(names):
    """Runs the test_ functions among `names`; with words on the command line only those whose name
    contains one of them. Returns the exit status."""
    wanted = sys.argv[1:]
    passed = failed = 0
    for name, test in list(names.items()):
        if not name.startswith("test_") or (wanted and not any(w in name for w in wanted)):
            continue
        began = time.monotonic()
        try:
            test()
            passed += 1
            print(f"ok     {name[5:]} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            traceback.print_exc(limit=-2, file=sys.stdout)
            failed += 1
            print(f"FAILED {name[5:]}: {type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
