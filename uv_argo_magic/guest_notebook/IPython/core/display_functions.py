"""The functions that show values, for child processes; in the cell's process, the guest replaces them."""

import binascii
import os

__all__ = ["DisplayHandle", "clear_output", "display", "publish_display_data", "update_display"]


def display(*objs, display_id=None, **_kwargs):
    """Print the values, because a child process cannot show them in the notebook."""
    for obj in objs:
        print(obj)
    return DisplayHandle(None if display_id is True else display_id) if display_id else None


def update_display(obj, *, display_id, **kwargs):
    """Print the value."""
    display(obj, display_id=display_id, **kwargs)


def publish_display_data(data, metadata=None, **_kwargs):
    """Print the text of a mimebundle."""
    del metadata
    print(data.get("text/plain", ""))


def clear_output(wait=False):
    """Does nothing, because printed text cannot be cleared."""
    del wait


class DisplayHandle:
    """A display that can be updated."""

    def __init__(self, display_id=None):
        self.display_id = display_id or binascii.b2a_hex(os.urandom(16)).decode("ascii")

    def display(self, obj, **kwargs):
        """Show a value with this id."""
        display(obj, display_id=self.display_id, **kwargs)

    def update(self, obj, **kwargs):
        """Show another value instead."""
        update_display(obj, display_id=self.display_id, **kwargs)
