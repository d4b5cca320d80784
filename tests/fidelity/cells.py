# ruff: noqa: E501 - long lines in cells
"""Cells that run as a plain cell and under `%%argo`, each with a name, its source and its packages.

Rules:
- A cell prints nothing that differs between two plain runs: no times, addresses or paths of this machine.
- The first line of each cell is line 2 in the notebook, below `%%argo` or a comment instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PACKAGES = ("numpy", "pandas", "matplotlib", "tqdm", "jinja2")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell; `deps` are the names of its packages, in the versions of the plain kernel."""

    name: str
    source: str
    deps: tuple[str, ...] = ()


_TEXT = r'''
# %% prints
print("a", 1, [1, 2], sep=", ")
print()
print("no newline at the end", end="")

# %% partial lines
for word in ("one", "two", "three"):
    print(word, end=" ", flush=True)
print("\n" + "x" * 3000)

# %% stdout and stderr
import sys
for i in range(3):
    print("out", i)
    print("err", i, file=sys.stderr)

# %% return value of write
import sys
sys.stdout.write("four\n"), sys.stderr.write("er\n")

# %% carriage returns
import time
for i in range(5):
    print(f"\rstep {i}", end="")
print("\rdone  ")

# %% tqdm
from tqdm import tqdm
total = 0
for i in tqdm(range(20), bar_format="{desc}{n_fmt}/{total_fmt}", desc="items "):
    total += i
total

# %% tqdm auto, nested
from tqdm import tqdm
for i in tqdm(range(2), bar_format="outer {n_fmt}", leave=True):
    for j in tqdm(range(3), bar_format="inner {n_fmt}", leave=False):
        pass
print("end")

# %% child process
import subprocess, sys, time
print("before")
time.sleep(0.5)
subprocess.run([sys.executable, "-c", "import sys; print('child'); print('complaint', file=sys.stderr)"])
time.sleep(0.5)
print("after")

# %% child process, captured
import subprocess
subprocess.run(["echo", "hello"], capture_output=True, text=True)

# %% os.system
import os, time
status = os.system("echo from the shell; exit 3")
time.sleep(0.5)
status

# %% os.write
import os, time
os.write(1, b"descriptor\n"); os.write(2, b"second\n")
time.sleep(0.5)

# %% puts of C
import ctypes, time
library = ctypes.CDLL(None)
library.puts(b"from C")
library.fflush(None);
time.sleep(0.5)  # a kernel reads what is not Python's own a little later

# %% sys.stdout.buffer
import sys
sys.stdout.buffer.write("caf\u00e9\n".encode())
sys.stdout.flush()

# %% attributes of the streams
import sys
print(sys.stdout.encoding, sys.stdout.isatty(), sys.stderr.isatty(), sys.stdout.writable(), sys.stdout.closed)
print(sys.stdout.name, sys.stderr.name)

# %% sys.stdout.errors
import sys
print(sys.stdout.errors)

# %% descriptors of the streams
import sys
print(sys.stdout.fileno() >= 0, sys.stderr.fileno() >= 0)

# %% redirected
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as kept:
    print("inside")
kept.getvalue()

# %% stderr into stdout
import contextlib, sys
with contextlib.redirect_stderr(sys.stdout):
    print("now out", file=sys.stderr)

# %% logging
import logging
logging.basicConfig(format="%(levelname)s:%(name)s:%(message)s")
logging.warning("look %s", "out")
logging.info("not shown")
logging.getLogger("mine").error("bad")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("caught")

# %% warnings
import warnings
warnings.warn("one")
warnings.warn("two", DeprecationWarning)
def old():
    warnings.warn("three", UserWarning, stacklevel=2)
old()
old()

# %% a warning as an error
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("error")
    warnings.warn("stop here", RuntimeWarning)

# %% a SyntaxWarning
import ast
1 is 1

# %% unicode
print("\u00fc \u4f60\u597d \U0001f600 e\u0301 \u202eabc\u202c \x00 \x1b[31mred\x1b[0m")
"\u00fc \U0001f600 \x7f"

# %% lone surrogate in a result
"\ud800"

# %% HTML and Markdown
from IPython.display import HTML, Markdown, Latex, SVG, JSON, display
display(HTML("<b>bold</b>"), Markdown("*text*"))
print("between")
display(Latex("$x$"))
HTML("<i>last</i>")

# %% display without an import
display({"a": 1})
display([1, 2], "text")
display()

# %% updates by display_id
handle = display("first", display_id="h")
print("between")
handle.update("second")
display("third", display_id="h2").update({"four": 4})

# %% update_display and clear_output
from IPython.display import clear_output, display, update_display
print("gone")
clear_output()
display("one", display_id="u")
update_display("two", display_id="u")
print("kept")

# %% repr methods of a class
class Rich:
    def _repr_html_(self): return "<p>rich</p>"
    def _repr_markdown_(self): return "**rich**"
    def _repr_latex_(self): return "$rich$"
    def _repr_svg_(self): return "<svg/>"
    def _repr_json_(self): return {"rich": True}
    def _repr_javascript_(self): return "rich()"
    def __repr__(self): return "Rich()"
display(Rich())
Rich()

# %% a mimebundle
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "plain", "application/x-mine+json": {"a": [1, None]}}, {"application/x-mine+json": {"m": 1}}
Bundle()

# %% _ipython_display_
class Own:
    def _ipython_display_(self):
        print("I show myself")
display(Own())
Own()

# %% an error in _repr_html_
class Broken:
    def _repr_html_(self): raise ValueError("no html")
    def __repr__(self): return "Broken()"
Broken()

# %% output after a display with an error
class Broken:
    def _repr_svg_(self): raise ValueError("no picture")
    def __repr__(self): return "Broken()"
display(Broken())
print("after")

# %% an error in __repr__
class Worse:
    def __repr__(self): raise RuntimeError("no repr")
Worse()

# %% raw mimebundle
display({"text/plain": "raw", "text/html": "<u>raw</u>"}, raw=True, metadata={"text/html": {"isolated": True}})

# %% Image
import base64
from IPython.display import Image
Image(base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="))

# %% one figure
import matplotlib.pyplot as plt
plt.plot([1, 2, 3])

# %% figures and show
import matplotlib.pyplot as plt
plt.figure(figsize=(4, 3)); plt.plot([1, 2]); plt.title("one")
print("before show")
plt.show()
print("after show")
for i in range(2):
    plt.figure(figsize=(2, 2 + i))
    plt.plot([i, 1])
plt.show()

# %% subplots
import matplotlib.pyplot as plt
fig, axes = plt.subplots(2, 2, figsize=(6, 4), layout="constrained")
axes[0, 0].bar([1, 2], [3, 4])
axes[1, 1].text(0.5, 0.5, "text");

# %% a figure as the result
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(3, 2))
ax.plot([3, 1, 2])
fig

# %% a figure displayed and closed
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(3, 3))
ax.hist([1, 2, 2, 3])
display(fig)
plt.close(fig)
print("closed")

# %% a figure without pyplot
from matplotlib.figure import Figure
fig = Figure(figsize=(2, 2), dpi=50)
fig.subplots().plot([1, 2])
fig

# %% a figure, then an error
import matplotlib.pyplot as plt
plt.plot([1, 2])
raise ValueError("after plotting")

# %% savefig
import io
import matplotlib.pyplot as plt
plt.rc("figure", dpi=50)
fig = plt.figure(figsize=(2, 1))
fig.add_subplot().plot([1])
kept = io.BytesIO()
plt.savefig(kept, format="png")
plt.rcdefaults()
kept.getvalue()[:4], plt.isinteractive()

# %% numpy
import numpy as np
print(np.arange(12).reshape(3, 4), np.float64(1.5), np.int8(3))
np.linspace(0, 1, 5)

# %% numpy values of many kinds
import numpy as np
np.float32(0.1), np.array([[1.5, np.nan], [np.inf, -0.0]]), np.zeros((1000, 1000)), np.array(["a", "bc"]), np.datetime64("2024-01-02"), np.array([{"a": 1}], dtype=object)

# %% a warning of numpy
import numpy as np
np.array([1.0]) / 0

# %% numpy random
import numpy as np
np.random.default_rng(7).normal(size=3).round(6), np.random.RandomState(3).randint(0, 100, 4)

# %% pandas table
import pandas as pd
table = pd.DataFrame({"name": ["a", "b", None], "value": [1.5, None, 3], "day": pd.date_range("2024-01-01", periods=3)})
print(table)
display(table.dtypes)
table

# %% pandas series and describe
import pandas as pd
pd.Series(range(100), name="n").describe()

# %% pandas, long and styled
import jinja2
import pandas as pd
long = pd.DataFrame({f"column{i}": range(200) for i in range(30)})
display(long)
long.head(2).iloc[:, :2].style.format("{:.1f}").set_uuid("fixed")

# %% pandas info and KeyError
import pandas as pd
table = pd.DataFrame({"a": [1]})
table.info(memory_usage=False)
table["b"]

# %% results of many types
import collections, datetime, decimal, fractions, pathlib, re, types, uuid
[None, True, 1, 1.0, 1j, "s", b"b", (1,), {1, 2}, frozenset({3}), {"k": range(3)}, ..., int, len, slice(1), decimal.Decimal("1.10"),
 fractions.Fraction(1, 3), pathlib.PurePosixPath("/a/b"), datetime.date(2024, 1, 2), uuid.UUID(int=5), re.compile("a+"),
 collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1], 3), collections.defaultdict(list, a=[1]), types.SimpleNamespace(x=1)]

# %% long and deep results
{f"key{i}": list(range(i)) for i in range(30)}

# %% recursive results
a = [1]
a.append(a)
d = {"a": a}
d["d"] = d
d

# %% more than a thousand items
list(range(1500))

# %% many lines of text
"a\n" * 3, "x" * 200, b"\xff" * 40

# %% a semicolon
40 + 2;

# %% a semicolon before a comment
40 + 2; # nothing

# %% None
None

# %% an assignment
x = 42

# %% two expressions
1 + 1
2 + 2

# %% the expression in a block
if True:
    "not shown"

# %% underscore in the same cell
x = 20
_ = 3
_ * 14

# %% a class and its objects
class Point:
    """A point."""
    def __init__(self, x): self.x = x
    def __repr__(self): return f"Point({self.x})"
print(Point, Point.__module__, Point.__qualname__)
Point, [Point(1), Point(2)]

# %% plain objects
class Thing: pass
Thing(), Thing, lambda: 0, Thing.__init__

# %% dataclass
from dataclasses import dataclass, field
@dataclass(order=True)
class Item:
    name: str
    tags: list[str] = field(default_factory=list)
sorted([Item("b", ["x" * 30, "y" * 30, "z" * 30]), Item("a")])

# %% named tuple and enum
import enum, typing
class Colour(enum.Enum):
    RED = 1
class Flag(enum.Flag):
    A = 1
    B = 2
class Pair(typing.NamedTuple):
    left: int
    right: Colour
Pair(1, Colour.RED), Colour.RED, Flag.A | Flag.B, Colour

# %% generators
def numbers():
    yield 1
    received = yield 2
    return received
g = numbers()
print(next(g), next(g))
try:
    g.send("sent")
except StopIteration as end:
    print(end.value)
list(numbers()), sum(i for i in range(5))

# %% functions and modules as results
import math, json
def f(a, b: int = 2) -> str: ...
f, math.sin, f.__annotations__, [].append.__name__, property

# %% top-level await
import asyncio
async def later(value):
    await asyncio.sleep(0.01)
    return value
print(await later("one"))
await later("two")

# %% gather and task groups
import asyncio
async def one(i):
    await asyncio.sleep(0.01 * (3 - i))
    print("did", i)
    return i
await asyncio.gather(*(one(i) for i in range(3)))

# %% async for and async with
import contextlib
@contextlib.asynccontextmanager
async def opened():
    print("open")
    yield 5
    print("close")
async def items():
    for i in range(2): yield i
async with opened() as five:
    async for i in items():
        print(i, five)
[i async for i in items()]

# %% asyncio.run
import asyncio
async def main(): return "ran"
asyncio.run(main())

# %% asyncio.get_running_loop
import asyncio
loop = asyncio.get_running_loop()
loop.is_running()

# %% an error in await
import asyncio
async def fails():
    await asyncio.sleep(0)
    raise LookupError("async")
await fails()

# %% threads
import threading
def work(i): print("thread", i)
for i in range(3):
    t = threading.Thread(target=work, args=(i,)); t.start(); t.join()
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(str.upper, "abc")))

# %% an exception in a thread
import threading
def bad(): raise ValueError("in a thread")
t = threading.Thread(target=bad, name="worker"); t.start(); t.join()
print("goes on")

# %% an exception in __del__
class Fading:
    def __del__(self): raise ValueError("in del")
f = Fading()
del f
print("goes on")

# %% multiprocessing by fork
import multiprocessing
def double(x): return 2 * x
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(double, [1, 2, 3]))

# %% prints of a forked process
import multiprocessing
def speak(): print("from the child")
p = multiprocessing.get_context("fork").Process(target=speak)
p.start(); p.join()
p.exitcode

# %% context variables
import contextvars
v = contextvars.ContextVar("v", default=0)
v.set(1)
ctx = contextvars.copy_context()
ctx.run(v.set, 2)
v.get(), ctx[v]

# %% pickle
import pickle, copy
class Kept:
    def __init__(self): self.a = [1]
k = pickle.loads(pickle.dumps(Kept()))
k.a, type(k) is Kept, copy.deepcopy(k).a

# %% inspect.getsource
import inspect
def shown(a):  # with a comment
    return a
class Shown:
    y = 1
print(inspect.getsource(shown), inspect.getsource(Shown), inspect.signature(shown))

# %% __name__ and __main__
print(__name__, __builtins__.__name__)
if __name__ == "__main__":
    print("main")

# %% __file__
__file__.rpartition("/")[2]

# %% globals and locals
x = 1
print("x" in globals(), globals() is locals(), sorted(name for name in globals() if not name.startswith("_") and name not in {"In", "Out", "exit", "quit", "get_ipython", "open", "x"}))

# %% sys.argv
import __main__, sys
y = 5
__main__.y, sys.modules["__main__"] is __main__, sys.argv[1:] == []

# %% an exception
def inner(value):
    return 10 / value

def outer():
    return inner(0)

print("before")
outer()

# %% raise from
try:
    {}["missing"]
except KeyError as problem:
    raise RuntimeError("wrapped") from problem

# %% an exception in an except block
try:
    int("x")
except ValueError:
    [][1]

# %% from None, with notes
try:
    int("x")
except ValueError as problem:
    other = TypeError("shorter")
    other.add_note("a note")
    raise other from None

# %% an exception group
raise ExceptionGroup("several", [ValueError("one"), KeyError("two"), ExceptionGroup("inner", [TypeError("three")])])

# %% except*
try:
    raise ExceptionGroup("g", [ValueError(1), TypeError(2)])
except* ValueError as some:
    print("caught", some.exceptions)

# %% SyntaxError
print("never")
x = (1,
y = 2

# %% IndentationError
def f():
return 1

# %% return outside a function
print("never")
return 5

# %% SyntaxError of eval
eval("1 +")

# %% NameError with a suggestion
length = 5
lenght

# %% AttributeError with a suggestion
class A: colour = 1
A().color

# %% a missing module
import numpyy_of_nobody

# %% a missing import
sys.exit

# %% KeyError and IndexError
d = {"a": {"b": 1}}
d["a"]["c"]

# %% an assertion
values = [1, 2]
assert sum(values) == 4, f"sum is {sum(values)}"

# %% a bare assertion
assert 1 == 2

# %% recursion
import sys
sys.setrecursionlimit(300)
def down(n): return down(n + 1)
down(0)

# %% a custom exception
class BadInput(ValueError):
    def __init__(self, field, why):
        super().__init__(f"{field}: {why}")
        self.field = field
def check(field):
    if field:
        raise BadInput(field, "too long")
check("name")

# %% an exception without a message
raise TimeoutError

# %% an error in __str__ of an exception
class Mute(Exception):
    def __str__(self): raise RuntimeError
raise Mute("x")

# %% an error of many lines
raise ValueError("one\ntwo\n  three")

# %% an error in a library
import json
json.loads("{broken")

# %% an error in exec
code = "a = 1\nb = a / 0\n"
exec(code)

# %% a missing file
open("no-such-file.txt")

# %% a decoding error
b"\xff\xfe".decode("ascii")

# %% an exception with finally
try:
    print("try")
    raise KeyError("k")
finally:
    print("finally")

# %% raise KeyboardInterrupt
print("before")
raise KeyboardInterrupt

# %% sys.exit without a status
import sys
print("before")
sys.exit()

# %% sys.exit with a status
import sys
sys.exit(3)

# %% sys.exit with a message
import sys
sys.exit("bye")

# %% input
answer = input("name? ")

# %% getpass
import getpass
getpass.getpass("secret? ")

# %% breakpoint
x = 1
breakpoint()
print("after", x)

# %% SIGALRM
import signal, time
def late(number, frame): raise TimeoutError("too late")
before = signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    time.sleep(5)
except TimeoutError as problem:
    print(problem)
finally:
    signal.signal(signal.SIGALRM, before)

# %% time
import time
begun = time.perf_counter(); time.sleep(0.05)
0.04 < time.perf_counter() - begun < 2, time.gmtime(0)[:3], time.strftime("%Z", time.gmtime(0))

# %% random
import random
random.seed(5)
random.random(), random.sample(range(100), 3), random.Random("text").randint(0, 999)

# %% decimals and huge ints
import decimal
print(2 ** 200, decimal.Decimal(1) / 3)
10 ** 4000, 1e300 * 10, 0.1 + 0.2

# %% an integer that is too long to print
10 ** 5000

# %% the working folder
import pathlib
here = pathlib.Path("kept-by-this-cell.txt")
here.write_text("text\n")
print(here.read_text(), pathlib.Path().resolve() == pathlib.Path.cwd(), here.exists())
here.unlink()

# %% environment variables
import os
os.environ["SET_HERE"] = "1"
print(os.getenv("SET_HERE"), os.environ.get("NOT_SET"), "PATH" in os.environ, "HOME" in os.environ)
del os.environ["SET_HERE"]

# %% an environment variable of the kernel
import os
os.environ.get("FIDELITY_TEST")

# %% MPLBACKEND and JPY_PARENT_PID
import os
os.environ.get("MPLBACKEND", "none"), os.environ.get("JPY_PARENT_PID") is not None

# %% get_ipython
get_ipython().__class__.__name__

# %% sys.ps1
import sys
"" in sys.path, sys.flags.interactive, sys.flags.optimize, hasattr(sys, "ps1")

# %% locale and default encodings
import locale, sys
print(sys.getdefaultencoding(), sys.getfilesystemencoding(), sys.getrecursionlimit())

# %% walrus and match
if (n := len("abc")) > 2:
    print(n)
match {"kind": "point", "at": (1, 2)}:
    case {"kind": "point", "at": (x, y)} if x < y:
        result = x, y
    case _:
        result = None
result

# %% decorators and type hints
import functools, typing
def twice(function):
    @functools.wraps(function)
    def wrapped(*args: typing.Any) -> list:
        return [function(*args)] * 2
    return wrapped
@twice
@functools.lru_cache(maxsize=None)
def square(n: int) -> int: return n * n
square(3), square.__name__, typing.get_type_hints(square), list[int] | None

# %% module annotations
count: int = 3
name: str
__annotations__

# %% exec, eval, compile
names = {}
exec("def f(x):\n    return x + 1", names)
print(names["f"](1), eval("names['f'](2)"), eval(compile("6 * 7", "<made>", "eval")))
exec("z = 9"); z

# %% print to a closed stdout
import sys
before = sys.stdout
sys.stdout = open("/dev/null", "w")
print("nowhere")
sys.stdout.close(); sys.stdout = before
print("back")

# %% reprs with newlines
class Multi:
    def __repr__(self): return "line 1\n  line 2"
[Multi(), {"k": Multi()}]

# %% doctest
def add(a, b):
    """
    >>> add(1, 2)
    4
    """
    return a + b
import doctest
doctest.testmod().failed

# %% unittest
import unittest
class T(unittest.TestCase):
    def test_a(self): self.assertEqual(1, 1)
result = unittest.main(argv=["x"], exit=False, verbosity=0).result
result.testsRun, result.wasSuccessful()

# %% timeit
import timeit
timeit.timeit("x + 1", "x = 1", number=10) < 1

# %% pprint, textwrap, help
import pprint
pprint.pprint({"b": [1] * 40, "a": 2})
def documented():
    """What it does."""
help(documented)

# %% sqlite, csv, zip in memory
import sqlite3, csv, io
db = sqlite3.connect(":memory:")
db.execute("create table t (a, b)"); db.executemany("insert into t values (?, ?)", [(1, "x"), (2, "y")])
out = io.StringIO(); csv.writer(out).writerows(db.execute("select * from t"))
out.getvalue()

# %% traceback.print_exc
import traceback
def f(): raise ValueError("printed")
try:
    f()
except ValueError:
    traceback.print_exc()

# %% sys.excepthook and atexit
import atexit, sys
sys.excepthook = lambda *told: print("hooked", told[0].__name__)
try:
    1 / 0
except ZeroDivisionError:
    print(sys.exc_info()[0].__name__)

# %% faulthandler
import faulthandler, sys
faulthandler.is_enabled()

# %% a thousand lines
for i in range(1000):
    print(i, "x" * 50)

# %% many displays
for i in range(30):
    display(i)

# %% tabs, form feeds, trailing spaces
print("a\tb\x0cc   \n\n\n")

# %% prints of forked processes that exit
import os, sys
for text in ("child\n", "a line of the child\n"):  # two writes of one child may come in any order in a plain cell
    if os.fork() == 0:
        sys.stdout.write(text)
        if text == "child\n":
            sys.stdout.flush()
        os._exit(0)
    status = os.wait()[1]
status

# %% pandas, wide
import pandas as pd
wide = pd.DataFrame([[f"text {i}" * 3 for i in range(12)]] * 3)
print(wide)
print(pd.DataFrame([range(40)] * 100))
wide

# %% pandas options and plot
import matplotlib
import pandas as pd
print(pd.get_option("display.max_columns"), pd.get_option("display.width"), pd.get_option("display.max_rows"))
pd.DataFrame({"a": [1, 3, 2]}).plot(figsize=(3, 2));

# %% numpy, long arrays and options
import numpy as np
print(np.get_printoptions()["linewidth"], np.random.default_rng(1).random(30).round(3))
np.arange(3000).reshape(-1, 3)

# %% asyncio.create_task
import asyncio
async def later(): pass
task = asyncio.create_task(later())
print("created")

# %% asyncio: a task awaited later
import asyncio
async def later(): return 5
task = asyncio.create_task(later())
await asyncio.sleep(0)
task.result()

# %% asyncio: a task awaited by the last line
import asyncio
async def later(): return 5
task = asyncio.create_task(later())
await task

# %% asyncio: a future of the loop
import asyncio
loop = asyncio.get_event_loop()
future = loop.create_future()
loop.call_soon(future.set_result, 7)
await future

# %% asyncio: the current task and its context
import asyncio, contextvars
task, variable = asyncio.current_task(), contextvars.ContextVar("v", default=0)
await asyncio.sleep(0)
variable.set(5)
await asyncio.sleep(0)
task is asyncio.current_task(), variable.get()

# %% asyncio: a cancelled task
import asyncio
task = asyncio.create_task(asyncio.sleep(10))
task.cancel()
await task

# %% StopIteration
next(iter([]))

# %% StopIteration in a cell that awaits
import asyncio
await asyncio.sleep(0)
next(iter([]))

# %% from __future__
from __future__ import annotations
def f(a: undefined_name) -> also_undefined: ...
f.__annotations__

# %% %matplotlib inline
%matplotlib inline
import matplotlib.pyplot as plt
plt.plot([1, 2])

# %% a retina figure
%config InlineBackend.figure_format = "retina"
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
%config InlineBackend.figure_format = "png"

# %% shell commands
name = "value"
!echo {name} $name '$name'; echo error >&2
lines = !echo one; echo two
print(len(lines), lines.n, lines.grep("t"), _exit_code)
lines

# %% %%bash
%%bash
echo "three"
exit 0

# %% %%capture
%%capture kept
print("kept")
6 * 7

# %% capture_output
from IPython.utils.capture import capture_output
with capture_output() as seen:
    print("hidden")
    display("shown", 2)
print(repr(seen.stdout), [output.data["text/plain"] for output in seen.outputs])

# %% %cd, %pwd, %env
%cd -q /
print(get_ipython().run_line_magic("pwd", ""))
%env FIDELITY_VALUE=1
%env FIDELITY_VALUE

# %% %who and %precision
a, b = 1, "x"
%who_ls int
%precision 3
print(1 / 3)
[1 / 3, 2.0]

# %% an indented cell with prompts
    >>> x = 1
    >>> for i in range(2):
    ...     x += i
    >>> x

# %% help
def helped(a, b=1):
    "What it does."
helped?

# %% an unknown magic
%no_such_magic 1

# %% an error below a magic
%cd -q /
def f(value):
    lines = !echo {value}
    return 1 / 0
f(2)

# %% ast_node_interactivity
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.ast_node_interactivity = "last_expr"
1
2

# %% IPython.display
from IPython.display import HTML, JSON, Code, Image, Javascript, Latex, Markdown, Math, Pretty, display, display_html
display(HTML("<b>b</b>"), Markdown("*m*"), Math("x"), Latex("$y$"), JSON({"a": 1}), Javascript("1"), Pretty("p"))
display_html("<i>i</i>", raw=True)
HTML("<u>u</u>", metadata={"isolated": True})

# %% IPython.display of files
from IPython.display import IFrame, Image, SVG, Video
png = bytes.fromhex("89504e470d0a1a0a0000000d494844520000000400000006080200000000000000")
open("a.svg", "w").write("<svg xmlns='http://www.w3.org/2000/svg'/>")
display(Image(png, width=7), Image(png, retina=True), Image(url="https://example.com/a.png", alt="x"), SVG("a.svg"))
display(Video("https://example.com/a.mp4"), IFrame("https://example.com", 3, 4))

# %% a progress bar of IPython
from IPython.display import ProgressBar
for _ in ProgressBar(3):
    pass

# %% custom formatters
class Point:
    def __init__(self, x):
        self.x = x
shell = get_ipython()
shell.display_formatter.formatters["text/html"].for_type(Point, lambda point: f"<b>{point.x}</b>")
shell.display_formatter.formatters["text/plain"].for_type(Point, lambda point, p, cycle: p.text(f"Point {point.x}"))
display([Point(1)])
Point(2)

# %% detection of a notebook
import builtins, sys
shell = get_ipython()
print(shell.__class__.__name__, shell.__class__.__module__, "IPKernelApp" in shell.config, builtins.__IPYTHON__)
print("IPython" in sys.modules, "ipykernel.zmqshell" in sys.modules, shell.kernel is not None, sys.argv[0].rpartition("/")[2])
from ipykernel.iostream import OutStream
print(shell.has_trait("kernel"), [isinstance(stream, OutStream) for stream in (sys.stdout, sys.stderr, sys.stdin)])

# %% multiprocessing by spawn
import math, multiprocessing
print("once")
with multiprocessing.get_context("spawn").Pool(2) as pool:
    print(pool.map(math.sqrt, [1, 4, 9]))

# %% a process pool and a manager
import concurrent.futures, math, multiprocessing
context = multiprocessing.get_context("forkserver")
with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
    print(pool.submit(math.factorial, 5).result())
with context.Manager() as manager:
    print(manager.list([1, 2])[:])

# %% %%capture, with IPython installed
%%capture kept
print("text")
display(1)
2

# %% capture_output, with IPython installed
from IPython.utils.capture import capture_output
with capture_output() as seen:
    print("text")
    display(1)
print(repr(seen.stdout), [one.data for one in seen.outputs])

# %% half an emoji
display({"text/plain": "cut \ud83d"}, raw=True)
print("after")

# %% update of an unknown display
from IPython.display import update_display
update_display("not shown", display_id="unknown")
print("after")
'''


def _imported_packages(source: str) -> tuple[str, ...]:
    found = set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE))
    return tuple(sorted(name for name in _PACKAGES if name in found))


def _cells() -> tuple[Cell, ...]:
    parts = re.split(r"^# %% (.*)\n", _TEXT, flags=re.MULTILINE)[1:]
    return tuple(
        Cell(
            name=name,
            source=source.strip("\n"),
            deps=(*_imported_packages(source), *(["ipython"] if "with IPython installed" in name else [])),
        )
        for name, source in zip(parts[::2], parts[1::2], strict=True)
    )


CELLS = _cells()
