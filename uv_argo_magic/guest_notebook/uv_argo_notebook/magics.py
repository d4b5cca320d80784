"""The magics of a cell under %%argo, by name; the client refuses others before the run (ipython_syntax.py)."""

import ast
import os
import re
import resource
import shlex
import statistics
import subprocess
import sys
import time
import timeit

from . import commands, inspection, packages

NO_EXPANSION = frozenset({"time", "timeit", "pinfo", "pinfo2", "psearch", "config", "pip"})
"""Line magics in whose text `$name` and `{expression}` are not expanded."""
ALIASES = ("cat", "cp", "ls", "mkdir", "mv", "rm", "rmdir")
SHOWN = {
    "html": "HTML", "HTML": "HTML", "latex": "Latex", "markdown": "Markdown", "svg": "SVG", "SVG": "SVG",
    "javascript": "Javascript", "js": "Javascript",
}  # fmt: skip
"""Cell magics that display their body -> the class of IPython.display."""
PROGRAMS = {
    "bash": "bash", "perl": "perl", "python": sys.executable, "python3": sys.executable, "ruby": "ruby", "sh": "sh",
    "script": "",
}  # fmt: skip
"""Cell magics that run their body -> the program, or "" for the program on the line."""


class MagicError(Exception):
    """A magic cannot do what its line requests; shown as IPython's UsageError."""


MagicError.__name__ = MagicError.__qualname__ = "UsageError"
MagicError.__module__ = "IPython.core.error"


class Magics:
    """The magics: `line` and `cell` map names to functions of the line, and of the line and the body."""

    def __init__(self, notebook):
        self.notebook = notebook
        self.executor = notebook.executor
        self.names = notebook.executor.module.__dict__
        self.line = {
            "alias_magic": self.alias_magic, "cd": self.cd, "config": self.config, "env": self.env,
            "matplotlib": self.matplotlib, "pinfo": self.pinfo, "pinfo2": self.pinfo2, "pip": self.pip,
            "precision": self.precision, "psearch": self.psearch, "pwd": lambda _line: os.getcwd(),
            "set_env": self.set_env, "sx": self.sx, "system": self.sx, "time": self.time, "timeit": self.timeit,
            "uv": self.uv, "who": self.who, "who_ls": self.who_ls, "whos": self.whos,
        }  # fmt: skip
        self.line.update((name, self._alias(name)) for name in ALIASES)
        self.cell = {
            "!": self.sx, "capture": self.capture, "file": self.writefile, "sx": self.sx, "system": self.sx,
            "time": self.time, "timeit": self.timeit, "writefile": self.writefile,
        }  # fmt: skip
        self.cell.update((name, self._shown(cls)) for name, cls in SHOWN.items())
        self.cell.update((name, self._script(program)) for name, program in PROGRAMS.items())

    # Time.

    def time(self, line, body=None):
        """Run code once and print the time it took; return its value."""
        text = line if body is None else body
        if body is not None and line.strip():
            raise MagicError("Can't use statement directly after '%%time'!")
        wall, before = time.perf_counter(), _cpu()
        try:
            value = self.executor.run(self.executor.value(text))
        finally:
            wall = time.perf_counter() - wall
            user, system = (now - then for now, then in zip(_cpu(), before))
            total = user + system
            print(
                "CPU times: user %s, sys: %s, total: %s\nWall time: %s"
                % (_seconds(user), _seconds(system), _seconds(total), _seconds(wall))
            )
        return value

    def timeit(self, line, body=None):
        """Run code many times and print its mean time."""
        options, statement = _options(line, "n:r:p:tcqo")
        setup = "pass"
        if body is not None:
            setup, statement = statement or "pass", body
        elif not statement:
            return None
        source = "def inner(_it, _timer):\n    setup\n    _t0 = _timer()\n    for _i in _it:\n        stmt\n"
        tree = ast.parse(source + "    _t1 = _timer()\n    return _t1 - _t0\n")
        function = tree.body[0]
        function.body[2].body = self.executor.parse(statement).body or [ast.Pass()]
        function.body[0:1] = self.executor.parse(setup).body
        ast.fix_missing_locations(tree)
        exec(self.executor.compiled(tree, "exec", statement), self.names)  # noqa: S102 - the user's statement
        timer = timeit.Timer(timer=time.process_time if "c" in options else time.perf_counter)
        timer.inner = self.names.pop("inner")
        repeat, number = int(options.get("r", 7)), int(options.get("n", 0))
        if not number:
            number = timer.autorange()[0]
        runs = [seconds / number for seconds in timer.repeat(repeat, number)]
        result = TimeitResult(number, repeat, runs, int(options.get("p", 3)))
        if "q" not in options:
            print(result)
        return result if "o" in options else None

    # Displays.

    def capture(self, line, body):
        """Run code and capture its output, in a variable if the line has a name."""
        from IPython.utils.capture import capture_output

        words = line.split()
        shown = [not {"--no-" + name, "--no_" + name} & set(words) for name in ("stdout", "stderr", "display")]
        with capture_output(*shown) as captured:
            try:
                self.executor.run(self.executor.body(body))
            finally:
                self.notebook.figures.flush()
        for name in [word for word in words if not word.startswith("-")][:1]:
            self.names[name] = captured

    def matplotlib(self, line):
        """Choose how figures are shown: as pictures, or not at all (agg)."""
        name = line.split()[0] if line.split() else "inline"
        if name in ("-l", "--list"):
            print("Available matplotlib backends: ['agg', 'inline']")
            return
        if not self.notebook.figures.use(name):
            sys.stderr.write("%%matplotlib %s is not available under %%%%argo; figures are shown as images.\n" % name)

    def config(self, line):
        """Change a setting of InlineBackend or InteractiveShell."""
        match = re.match(r"\s*(\w+)(?:\.(\w+)\s*(?:=\s*(.*))?)?$", line, re.DOTALL)
        if match is None or match[1] not in ("InlineBackend", "InteractiveShell"):
            raise MagicError("Invalid config statement: %r, expected InlineBackend.NAME = VALUE" % line)
        target = self.notebook.figures.settings if match[1] == "InlineBackend" else self.notebook.shell
        if match[2] is None or match[3] is None:
            value = (
                getattr(target, match[2]) if match[2] else dict(vars(target)) if match[1] == "InlineBackend" else None
            )
            print(value)
            return
        value = eval(match[3], self.names)
        if match[1] == "InlineBackend":
            self.notebook.figures.configure(match[2], value)
        else:
            setattr(target, match[2], value)

    def precision(self, line):
        """Set the number of digits for floats; "" for Python's default."""
        line = line.strip()
        form = "%%.%df" % int(line) if line.isdigit() else line or "%r"
        form % 3.14159
        plain = self.notebook.displays.formatters["text/plain"]
        if line:
            plain.for_type(float, lambda value, printer, _cycle: printer.text(form % value))
        else:
            plain.pop(float, None)
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.set_printoptions(precision=int(line) if line.isdigit() else 8)
        return form

    def _shown(self, cls):
        def show(_line, body):
            from IPython import display

            self.notebook.displays.display(getattr(display, cls)(body))

        return show

    # Commands and files.

    def _alias(self, name):
        def run(line):
            self.notebook.shell.system("%s %s" % ("ls -F --color" if name == "ls" else name, line))

        return run

    def _script(self, program):
        def run(line, body):
            options = shlex.split(line)
            captured = {
                option: options[options.index(option) + 1] for option in ("--out", "--err") if option in options
            }
            command = [o for o in options if not o.startswith("--") and o not in captured.values()]
            if program:
                command.insert(0, program)
            if not command:
                raise MagicError("%%script: name a program")
            if captured:
                process = subprocess.run(
                    command, input=body.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False
                )
                status = process.returncode
                for option, data in (("--out", process.stdout), ("--err", process.stderr)):
                    if option in captured:
                        self.names[captured[option]] = data.decode("utf-8", "replace")
            else:
                status = commands.run(command, body, (sys.stdout, sys.stderr))
            if status and "--no-raise-error" not in options:
                raise subprocess.CalledProcessError(status, body.encode())

        return run

    def sx(self, line, body=None):
        """The output of a command as lines."""
        return self.notebook.shell.getoutput(line if body is None else (line + "\n" + body).strip("\n"))

    def writefile(self, line, body):
        """Write the body to a file."""
        words = shlex.split(line)
        append = bool({"-a", "--append"} & set(words))
        names = [word for word in words if not word.startswith("-")]
        if len(names) != 1:
            raise MagicError("%%writefile: name one file")
        name = os.path.expanduser(names[0])
        print(("Writing " if not os.path.exists(name) else "Appending to " if append else "Overwriting ") + name)
        with open(name, "a" if append else "w", encoding="utf-8") as file:
            file.write(body)

    def cd(self, line):
        """Change the working directory."""
        words = [word for word in shlex.split(line) if word != "-q"]
        before = os.getcwd()
        target = words[0] if words else "~"
        target = getattr(self, "_before", before) if target == "-" else target
        os.chdir(os.path.expanduser(target))
        self._before = before
        if "-q" not in line.split():
            print(os.getcwd())

    def env(self, line):
        """Show environment variables, or set one."""
        line = line.strip()
        if not line:
            return {
                name: "<hidden>" if re.search("key|token|secret", name.lower()) else value
                for name, value in os.environ.items()
            }
        if "=" in line or len(line.split()) > 1:
            return self.set_env(line)
        if line not in os.environ:
            raise MagicError("Environment does not have key: %s" % line)
        return os.environ[line]

    def set_env(self, line):
        """Set an environment variable: NAME=VALUE or NAME VALUE."""
        name, separator, value = line.partition("=" if "=" in line else " ")
        if not separator or not name.strip():
            raise MagicError("%set_env: write NAME=VALUE")
        os.environ[name.strip()] = value.strip()
        print("env: %s=%s" % (name.strip(), value.strip()))

    # Packages.

    def pip(self, line):
        """Install the packages that the client has locked for this line."""
        order = self.notebook.interpreter.order
        for argument, site, found in order["installs"]:
            if argument == line:
                if site:
                    packages.add(site, copy=order["keeps_venv"])
                    self.notebook.interpreter.out.emit("added", packages=found)
                names = " ".join("%s-%s" % (name, version) for name, version in found)
                if not {"-q", "-qq", "--quiet"} & set(line.split()):
                    print("Successfully installed " + names if names else "Requirements already satisfied")
                return
        raise MagicError("%pip takes literal text: the packages are locked before the cell runs")

    def uv(self, line):
        """`%uv pip install`, like %pip."""
        self.pip(line)

    # Names.

    def who_ls(self, line):
        """The names of the cell's variables, sorted."""
        kinds = line.split()
        hidden = self.notebook.hidden_names
        return sorted(
            name
            for name, value in self.names.items()
            if not name.startswith("_")
            and hidden.get(name) is not value
            and (not kinds or type(value).__name__ in kinds)
        )

    def who(self, line):
        """Print the names of the cell's variables."""
        names = self.who_ls(line)
        print("\t ".join(names) + "\t " if names else "Interactive namespace is empty.")

    def whos(self, line):
        """Print the names, types and values of the cell's variables."""
        names = self.who_ls(line)
        if not names:
            print("Interactive namespace is empty.")
            return
        kinds = [type(self.names[name]).__name__ for name in names]
        wide, wider = max([8, *map(len, names)]), max([4, *map(len, kinds)])
        print("Variable".ljust(wide) + "   " + "Type".ljust(wider) + "   Data/Info")
        print("-" * (wide + wider + 15))
        for name, kind in zip(names, kinds):
            print(name.ljust(wide) + "   " + kind.ljust(wider) + "   " + inspection.short(self.names[name]))

    def alias_magic(self, line):
        """Give a magic another name."""
        words = [word for word in line.split() if not word.startswith("-")]
        if len(words) != 2:
            raise MagicError("%alias_magic: write NEW OLD")
        new, old = (word.lstrip("%") for word in words)
        for functions in (self.line, self.cell):
            if old in functions:
                functions[new] = functions[old]

    def pinfo(self, line):
        """Print the signature, documentation and type of an object."""
        print(inspection.describe(line, self.names))

    def pinfo2(self, line):
        """Print the source of an object as well."""
        print(inspection.describe(line, self.names, source=True))

    def psearch(self, line):
        """Print the names that match a pattern."""
        print("\n".join(inspection.search(line, self.names)))


class TimeitResult:
    """The result of %timeit: seconds in `all_runs` (each of `loops`), `best`, `worst`, `average` and `stdev`."""

    def __init__(self, loops, repeat, runs, digits):
        self.loops, self.repeat, self.all_runs = loops, repeat, runs
        self.best, self.worst = min(runs), max(runs)
        self.average, self.stdev = statistics.fmean(runs), statistics.pstdev(runs)
        self._digits = digits
        self.timings = runs

    def __str__(self):
        return "%s ± %s per loop (mean ± std. dev. of %d run%s, %s loop%s each)" % (
            _seconds(self.average, self._digits), _seconds(self.stdev, self._digits), self.repeat,
            "" if self.repeat == 1 else "s", format(self.loops, ","), "" if self.loops == 1 else "s",
        )  # fmt: skip

    def __repr__(self):
        return "<TimeitResult : %s>" % self

    def _repr_pretty_(self, printer, _cycle):
        printer.text(repr(self))


def _cpu():
    """CPU seconds of this process: (user, system)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime


def _seconds(seconds, digits=3):
    """A time in IPython's format: 1min 2s, 3.4 ms."""
    if seconds >= 60:
        parts = []
        for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
            count = int(seconds / size)
            seconds %= size
            if count:
                parts.append("%d%s" % (count, name))
        return " ".join(parts)
    for unit, size in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * size >= 1:
            return "%.*g %s" % (digits, seconds * size, unit)
    return "%.*g ns" % (digits, seconds * 1e9)


def _options(line, names):
    """The options at the beginning of a line, and the rest; "n:" takes a value, with or without a space."""
    found, rest = {}, line.strip()
    while True:
        match = re.match(r"-([a-zA-Z])\s*", rest)
        if match is None or match[1] not in names:
            return found, rest
        rest, value = rest[match.end() :], ""
        if match[1] + ":" in names:
            value = rest.split(None, 1)[0] if rest.split() else ""
            rest = rest[len(value) :].lstrip()
        found[match[1]] = value
