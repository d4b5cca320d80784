"""Run code in `__main__`: statement by statement like a notebook, or as a whole like a script.

Rules:
- Only this module compiles and runs the user's text, including the bodies of magics.
- Positions refer to the user's lines: code that was translated from IPython's syntax has the same line numbers.
"""

import __future__

import ast
import functools
import io
import operator
import sys
import tokenize

AWAIT = getattr(ast, "PyCF_ALLOW_TOP_LEVEL_AWAIT", 0x2000)
CO_COROUTINE = 0x80
_FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


class Executor:
    """Runs code in `module`, and shows values with `displays`; `file` contains the user's text.

    Code runs in steps. A generator first yields whether the code has a top-level `await`, and then the compiled code of
    each step, for which it is sent the value.
    """

    def __init__(self, module, displays):
        self.module = module
        self.displays = displays
        self.file = ""
        self.flags = 0  # of the `from __future__` imports so far
        self.shell = None
        """IPython's shell, if there is one; its `ast_node_interactivity` selects the values to show."""
        self._loop = None
        self._lines = []  # type: list[str]  # of the file
        self._texts = ()  # type: tuple[str, ...]  # the code, and the bodies of cell magics at its end

    def script(self, source):
        """The steps of a whole program; the value of its last expression is shown."""
        tree = _unwound(ast.parse, source, self.file)
        yield self._awaits(tree)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not _silenced(source):
            last = tree.body.pop()
        if tree.body:
            yield self.compiled(tree, "exec")
        if last is not None:
            self.show((yield self.compiled(ast.Expression(last.value), "eval")))

    def cell(self, source, code):
        """The steps of a notebook's cell; `code` is its translation to Python, "" if it is Python."""
        self._lines = _lines(source)
        self._texts = tuple(_bodies(code or source))
        return self.body(code or source)

    def body(self, text):
        """The steps of the cell's code, or of the body of a magic; the shell's setting selects the values to show."""
        tree, silent = self.parse(text), _silenced(text)
        yield self._awaits(tree)
        for number, node in enumerate(tree.body, 1):
            last = number == len(tree.body)
            shows = self._shows(node, last) and not (last and silent)
            if shows and isinstance(node, ast.Expr):
                self.show((yield self.compiled(ast.Expression(node.value), "eval")))
                continue
            yield self.compiled(ast.Module(body=[node], type_ignores=[]), "exec")
            if shows:
                self.show(self.module.__dict__.get(_target(node)))

    def _awaits(self, tree):
        """Whether code has a top-level `await`; False if it does not compile, which is reported when it runs."""
        try:
            code = compile(tree, self.file, "exec", AWAIT | self.flags, dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
        return bool(code.co_flags & CO_COROUTINE)

    def value(self, text):
        """The steps of code whose last value is returned, unless a semicolon suppresses it."""
        tree = self.parse(text)
        yield self._awaits(tree)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        if tree.body:
            yield self.compiled(tree, "exec", text)
        value = None if last is None else (yield self.compiled(ast.Expression(last.value), "eval", text))
        return None if _silenced(text) else value

    def run(self, steps):
        """Run the steps of code; return the last value. Code with a top-level `await` runs in one task of a loop."""
        if next(steps):
            return self._run_in_loop(steps)
        code, value = _step(steps, None)
        while code is not None:
            value = eval(code, self.module.__dict__)  # noqa: S307 - running the user's code is the purpose
            tracer = sys.gettrace()
            sys.settrace(None)  # the code's tracer must not trace our code
            code, value = _step(steps, value)
            sys.settrace(tracer)
        return value

    async def take(self, steps):
        """Run the steps of code in the current task; return (the last value, None), or (None, the exception).

        The exception is returned, because a coroutine would turn StopIteration into RuntimeError.
        """
        try:
            code, value = _step(steps, None)
            while code is not None:
                value = eval(code, self.module.__dict__)  # noqa: S307 - the same
                if code.co_flags & CO_COROUTINE:
                    value = await value
                tracer = sys.gettrace()
                sys.settrace(None)
                code, value = _step(steps, value)
                sys.settrace(tracer)
        except BaseException as problem:  # noqa: BLE001 - the user's code
            return None, problem
        finally:
            sys.settrace(None)
        return value, None

    def _run_in_loop(self, steps):
        import asyncio

        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises, which would become the context of errors
            raise RuntimeError(
                "a magic cannot await here, because an event loop is already running; await outside the magic"
            )
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(self.take(steps))
        try:
            value, problem = self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            # The interrupt came while the loop waited: raise in the code where it awaits, so that it can clean up.
            task.cancel()
            value, cancelled = self._loop.run_until_complete(task)
            problem = KeyboardInterrupt().with_traceback(cancelled and cancelled.__traceback__)
        if problem is not None:
            raise problem
        return value

    def show(self, value):
        """Show a value unless it is None, and bind it to `_`."""
        if value is not None:
            self.module.__dict__["_"] = value
            self.displays.result(value)

    def parse(self, text):
        """The syntax tree of a text; for a part of the cell, positions are those in the cell."""
        if text not in self._texts:
            return _unwound(ast.parse, text, "<magic>")
        above = len(self._lines) - len(_lines(text))
        tree = _unwound(ast.parse, "\n" * above + text, self.file)
        translated = [""] * above + _lines(text)
        if translated[above:] != self._lines[above:]:
            _move(tree, translated, self._lines)
        return tree

    def compiled(self, tree, mode, text=""):
        """Compile a syntax tree from `parse`; `text` is that of a magic. A top-level `await` is allowed."""
        file = "<magic>" if text and text not in self._texts else self.file
        code = _unwound(compile, tree, file, mode, AWAIT | self.flags, dont_inherit=True)
        self.flags |= code.co_flags & _FUTURE
        return code

    def _shows(self, node, last):
        interactivity = getattr(self.shell, "ast_node_interactivity", "last_expr")
        if interactivity == "all":
            return isinstance(node, ast.Expr)
        if not last or interactivity == "none":
            return False
        assigned = interactivity == "last_expr_or_assign" and _target(node)
        return isinstance(node, ast.Expr) or bool(assigned)


def _step(steps, value):
    """(the code of the next step, None), or (None, the value that the steps return)."""
    try:
        return steps.send(value), None
    except StopIteration as end:
        return None, end.value


def _unwound(function, *args, **kwargs):
    """Parse or compile; an error does not contain our own frames."""
    try:
        return function(*args, **kwargs)
    except (SyntaxError, ValueError) as problem:
        raise problem.with_traceback(None)  # noqa: B904 - the same exception


def _lines(text):
    return (text[:-1] if text.endswith("\n") else text).split("\n")


def _bodies(code):
    """The code, and the body of its cell magic, which can itself be a cell magic, and so on."""
    while code is not None:
        yield code
        if "run_cell_magic" not in code:
            return
        try:
            body = ast.parse(code).body
        except (SyntaxError, ValueError):
            return
        call = body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else None
        code = None
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "run_cell_magic" and len(call.args) == 3:
            code = getattr(call.args[2], "value", getattr(call.args[2], "s", None))


def _move(tree, translated, lines):
    """Correct the columns of nodes in lines that were translated from IPython's syntax."""
    for node in ast.walk(tree):
        for line, column in (("lineno", "col_offset"), ("end_lineno", "end_col_offset")):
            number = getattr(node, line, None)
            if number is None or not 0 < number <= min(len(translated), len(lines)):
                continue
            now, own = translated[number - 1], lines[number - 1]
            if now == own:
                continue
            if now and own.endswith(now):  # an indentation or a prompt was removed
                moved = getattr(node, column) + len(own[: -len(now)].encode())
            else:
                moved = len(own.encode()) if line == "end_lineno" else len(own) - len(own.lstrip())
            setattr(node, column, moved)


def _target(node):
    """The name that a statement assigns to, or ""."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


def _silenced(source):
    """Whether the last token is a semicolon, which suppresses the value in a notebook."""
    if ";" not in source:
        return False
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.DEDENT):
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"
