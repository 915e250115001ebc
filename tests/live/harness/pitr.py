"""Runs the program the way a user does: arguments in; exit code, stdout and stderr out."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SECONDS = 180
# The settings the program reads; a test sees none of the developer's own.
OWN_VARIABLES = ("MONGODB_", "BACKUP_", "AWS_", "ALERT_", "PITR_PASSPHRASE")


def binary():
    return os.environ.get("PITR_TEST_PROGRAM", str(ROOT / "build/pitr"))


def clean_environment(extra=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith(OWN_VARIABLES)}
    env.update(extra or {})
    return env


def stamp(ts):
    """A timestamp in the form the command line takes: SECS,INC."""
    return f"{ts.time},{ts.inc}"


class Result:
    """What one run left: rc, stdout, stderr, and with --json the objects on stdout."""

    def __init__(self, command, rc, stdout, stderr):
        self.command = command
        self.rc = rc
        self.stdout = stdout
        self.stderr = stderr
        self.objects = []
        if "--json" in command:
            self.objects = parse_objects(stdout)

    @property
    def json(self):
        assert self.objects, f"no JSON on stdout\n{self}"
        return self.objects[-1]

    def __str__(self):
        return (f"{' '.join(self.command)}\nrc {self.rc}\n--- stdout\n{self.stdout[-4000:]}"
                f"\n--- stderr\n{self.stderr[-4000:]}")


def parse_objects(text):
    """All JSON values in text, whether one a line or one spread over lines."""
    decoder = json.JSONDecoder()
    objects, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError as e:
            raise AssertionError(f"stdout is not JSON at byte {at}: {text[at:at + 200]!r}") from e
        objects.append(value)
    return objects


class Pitr:
    """The program with its global options fixed: one repository, one server."""

    def __init__(self, repo, uri=None, config=None, env=None, prefix=()):
        self.repo = str(repo)
        self.uri = uri
        self.config = config
        self.env = env or {}
        self.prefix = list(prefix)

    def command(self, *args, uri=None, use_json=True):
        line = [*self.prefix, binary()]
        if self.config:
            line += ["--config", str(self.config)]
        line += ["--repo", self.repo]
        if uri or self.uri:
            line += ["--uri", uri or self.uri]
        if use_json:
            line.append("--json")
        return line + ["--no-progress"] + [str(a) for a in args]

    def run(self, *args, uri=None, use_json=True, seconds=SECONDS, preexec=None):
        command = self.command(*args, uri=uri, use_json=use_json)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=seconds,
                              env=clean_environment(self.env), preexec_fn=preexec)
        return Result(command, done.returncode, done.stdout, done.stderr)

    def ok(self, *args, **options):
        """Runs a command that must succeed; returns its JSON object ({} if it prints none)."""
        result = self.run(*args, **options)
        assert result.rc == 0, str(result)
        return result.objects[-1] if result.objects else {}

    def fails(self, rc, *args, says=(), **options):
        """Runs a command that must fail with rc, in one line on stderr that contains every word
        of `says`, and with the same error as an object on stdout. Returns the line."""
        result = self.run(*args, **options)
        assert result.rc == rc, f"expected rc {rc}\n{result}"
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        assert len(lines) == 1, f"expected one line on stderr\n{result}"
        if options.get("use_json", True):
            error = result.json.get("error")
            assert error and error["exit"] == rc and error["code"] and error["message"], str(result)
        for word in [says] if isinstance(says, str) else says:
            assert word.lower() in lines[0].lower(), f"expected {word!r}\n{result}"
        return lines[0]

    def init(self, *args):
        self.ok("init", *args)
        return self

    def restore(self, *args, target=None, **options):
        where = ["--target", target] if target else []
        return self.ok("restore", *args, *where, "--yes", **options)

    def tail(self, *args):
        return Tail(self, args)


class Tail:
    """`pitr tail` in the background."""

    def __init__(self, pitr, args=()):
        self.log = tempfile.NamedTemporaryFile("w+", prefix="pitr-tail-", suffix=".log")
        self.process = subprocess.Popen(
            # Gone with the tests, however they end.
            ["setpriv", "--pdeathsig", "KILL", *pitr.command("tail", *args, use_json=False)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=clean_environment(pitr.env))

    def running(self):
        return self.process.poll() is None

    def said(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        """Asks it to end; it seals what it has and ends with 0."""
        assert self.running(), f"tail ended by itself: {self.process.returncode}\n{self.said()}"
        self.process.send_signal(signal.SIGTERM)
        rc = self.process.wait(60)
        assert rc == 0, f"tail ended with {rc}\n{self.said()}"

    def kill(self):
        if self.running():
            self.process.kill()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()
        self.log.close()
