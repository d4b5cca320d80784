"""Write the user's stdout and stderr to the log: complete lines unchanged, all other text as records, within a budget.

Rules:
- A complete line of stdout is sent as a raw line, so that the log is readable. A line that is too long or incomplete,
  contains a carriage return, or looks like one of ours or Argo's becomes a `text` record.
- All output is also written to a file. When the log's budget is used up, only this file and a tail are kept. The tail
  is sent at the end, after a `skipped` record.
"""

import codecs
import collections
import itertools
import operator
import re
import time

LONG_LINE = 7000  # below log_writer.LONGEST, which the container runtime does not split
TAIL = 128 * 1024
STEP = 2048  # bytes by which the text can exceed the budget
SNAPSHOT_SECONDS = 2.0
PARTIAL_SECONDS = 0.04
REDRAWS = 50

# Our prefix, and the three forms of lines that Argo's executor writes into the same log.
OURS_OR_ARGOS = re.compile(rb'^(?:@uv-argo:|time=.* argo=true|Error: exit status |.*"argo":true)', re.MULTILINE)
RARE = re.compile(rb"[\r\x00]")


class Source:
    """The bytes of one pipe or stream: a decoder, and the unfinished line."""

    def __init__(self, stream):
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.pending = ""
        self.open = False  # the beginning of the current line was sent as a record


class Output:
    """Receives bytes of all sources in order, and writes lines and records to the log."""

    def __init__(self, log, budget, path):
        self.log = log
        self.text_budget = budget * 3 // 4
        self.tail_budget = min(TAIL, budget // 4)
        self.path = path
        self.file = None
        self.held = False
        self.held_lines = 0
        self.held_bytes = 0
        self.tail = collections.deque()  # type: ignore[var-annotated]
        self.tail_bytes = 0
        self.snapshot_at = 0.0
        self.last = None  # the source with an unfinished line
        self.partial_at = 0.0

    def feed(self, source, data):
        """Add data from one source; in small steps, if the budget can end within it."""
        self._keep(data)
        step = STEP if self.log.spent + len(data) > self.text_budget else len(data)
        for start in range(0, len(data), step or 1):
            self._feed(source, data[start : start + step])

    def _feed(self, source, data):
        if self.last is not None and self.last is not source:
            self.flush()
        text = source.decoder.decode(data)
        if not text:
            return
        text = source.pending + text
        cut = text.rfind("\n") + 1
        source.pending = text[cut:]
        if cut:
            self._whole(source, text[:cut])
            source.open = False
        if source.pending:
            if self.last is None or cut:
                self.partial_at = time.monotonic() + PARTIAL_SECONDS
            self.last = source
            if len(source.pending) > LONG_LINE:
                self.flush()
        else:
            self.last = None

    def flush(self):
        """Send the unfinished line."""
        source = self.last
        self.last = None
        if source is None or not source.pending:
            return
        text, source.pending = source.pending, ""
        source.open = True
        self._record(source.stream, text)

    def clear(self):
        """Drop the tail that is held back, because the output is cleared."""
        self.tail.clear()
        self.tail_bytes = 0

    def wait(self):
        """Seconds until `tick` must be called, or None."""
        if self.last is None:
            return None
        return max(0.0, self.partial_at - time.monotonic())

    def tick(self):
        """Send text that was delayed long enough."""
        if self.last is not None and time.monotonic() >= self.partial_at:
            self.flush()

    def close(self, sources):
        """Send the rest; after this, only records are written to the log."""
        for source in sources:
            rest = source.decoder.decode(b"", True)
            if rest:
                source.pending += rest
            if source.pending:
                self.last = source
                self.flush()
        if self.held:
            lines = self.held_lines - sum(text.count("\n") for _, text in self.tail)
            if self.held_bytes > self.tail_bytes:
                self.log.emit("skipped", lines=lines, bytes=self.held_bytes - self.tail_bytes, path=self.path)
            self.held = False
            for stream, texts in itertools.groupby(self.tail, operator.itemgetter(0)):
                self.log.emit("text", stream=stream, text="".join(text for _, text in texts))
        if self.file is not None:
            try:
                self.file.close()
            except OSError as problem:
                self._not_kept(problem)

    def _keep(self, data):
        if not self.path:
            return
        try:
            if self.file is None:
                self.file = open(self.path, "wb", buffering=65536)  # noqa: SIM115 - closed with the output
            self.file.write(data)
        except OSError as problem:
            self._not_kept(problem)

    def _not_kept(self, problem):
        if self.path:
            self.log.emit("note", text="cannot write the full output to a file: %s" % problem)
            self.path = ""

    def _whole(self, source, text):
        """Send whole lines: raw if that is safe, otherwise as records."""
        if source.stream != "stdout":
            self._record(source.stream, text)
            return
        if source.open:  # the end of a line whose beginning was sent as a record
            cut = text.index("\n") + 1
            self._record("stdout", text[:cut])
            text = text[cut:]
            if not text:
                return
        data = text.encode("utf-8", "replace")
        if not (RARE.search(data) or OURS_OR_ARGOS.search(data) or _longest(data) > LONG_LINE):
            self._raw(data, text)
            return
        for line in text.split("\n")[:-1]:
            data = line.encode("utf-8", "replace")
            if RARE.search(data) or OURS_OR_ARGOS.search(data) or len(data) > LONG_LINE:
                self._record("stdout", line + "\n")
            else:
                self._raw(data + b"\n", line + "\n")

    def _raw(self, data, text):
        if self._over():
            self._hold("stdout", text)
        else:
            self.log.raw(data, data.count(b"\n"))

    def _record(self, stream, text):
        if self._over():
            self._hold(stream, text)
            return
        redraws = text.split("\r")
        if len(redraws) > REDRAWS:
            # A progress bar that is redrawn faster than a screen: keep only the last redraws.
            text = "\r" + "\r".join(redraws[-REDRAWS:])
        self.log.emit("text", stream=stream, text=text)

    def _over(self):
        if not self.held and self.log.spent > self.text_budget:
            self.held = True
        return self.held

    def _hold(self, stream, text):
        size = len(text)
        self.held_lines += text.count("\n")
        self.held_bytes += size
        self.tail.append((stream, text))
        self.tail_bytes += size
        while self.tail_bytes - len(self.tail[0][1]) > self.tail_budget:
            self.tail_bytes -= len(self.tail.popleft()[1])
        now = time.monotonic()
        if now >= self.snapshot_at:
            self.snapshot_at = now + SNAPSHOT_SECONDS
            self.log.emit("snapshot", lines=self.held_lines, bytes=self.held_bytes, tail=text[-4000:])


def _longest(data):
    return max(map(len, data.split(b"\n")))
