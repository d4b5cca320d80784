"""Messages of the worker of a session to its holder."""

from __future__ import annotations

from uv_argo_magic.guest.session.clients import MOST_LATE, OMITTED, Clients


class Connection:
    """A connection whose client reads nothing until `read`."""

    def __init__(self):
        self.owed = b""
        self.messages = []

    def answer(self, message):
        self.messages.append(message)
        self.owed += str(message).encode()

    def read(self):
        self.owed = b""
        messages, self.messages = self.messages, []
        return messages


def output(run, text):
    return {"event": "output", "run": run, "kind": "text", "fields": {"stream": "stdout", "text": text}}


def test_output_beyond_what_the_holder_reads_is_replaced_by_one_note_per_run():
    clients = object.__new__(Clients)  # without a server
    clients.cut = set()
    clients.holding = connection = Connection()
    note = {"stream": "stderr", "text": OMITTED}
    for _ in range(3):
        assert clients.tell(output("r1", "x" * MOST_LATE))
    assert clients.tell(output("r2", "y"))
    assert clients.tell({"event": "ending"})
    first, *rest = connection.read()
    assert first["run"] == "r1"
    assert [message.get("fields") for message in rest] == [note, note, None]
    assert [message.get("run") for message in rest] == ["r1", "r2", None]
    for _ in range(3):
        assert clients.tell(output("r1", "x" * MOST_LATE))
    assert [message["fields"]["text"] for message in connection.read()] == ["x" * MOST_LATE, OMITTED]
