"""When a session ends while no cell is running: it is idle or too old, or its kernel has ended.

Rules:
- No time limit ends a running cell; the session then ends after the cell.
- The holder is warned before the end, once after each cell.
"""

import time

WARNING = 300.0  # seconds before the end at which the holder is warned; at most a tenth of the whole time
RETURN = 120.0  # seconds in which a client can connect to a pod after its start, or after its connection was cut
REST = 60.0  # maximum seconds between two checks


class End:
    """An end that comes without a cell: its time, its setting with the seconds that this gives, and the reason."""

    def __init__(self, moment, span, setting, reason):
        self.moment = moment
        self.span = span
        self.setting = setting
        self.reason = reason


class Lifetime:
    """The time limits of a session; one that `is_bound` ends with the connection of its holder."""

    def __init__(self, options):
        self.keep = options["keep"]
        self.max_age = options["max_age"]
        self.is_bound = options["bound"]
        self.started = self.idle_since = time.time()
        self.left_at = self.started  # when the last holder left, or the start if there was none; 0: there is a holder
        self.warned = 0.0  # the end about which the holder was warned under the last cell
        self.old_at = 0.0  # when max_age ends it, once that is near

    def change(self, keep, max_age):
        """Apply the settings of a cell."""
        if max_age != self.max_age:
            self.old_at = 0.0
        self.keep, self.max_age = keep, max_age
        self.is_bound = self.is_bound or not keep

    def cell_ended(self):
        """Count the idle time from now on."""
        self.idle_since = time.time()
        self.warned = 0.0  # its client has removed the message

    def check(self):
        """What to do while no cell is running: (event, end, seconds until the next check).

        The event is "ending" for a warning, "ended" if the session has to end, or "".
        """
        now = time.time()
        ahead = _ahead(self.max_age)
        if self.max_age and not self.old_at and now >= self.started + self.max_age - ahead:
            # A cell may have run until now: the message comes as long before the end as without it.
            self.old_at = max(self.started + self.max_age, now + ahead)
        ends = self._ends()
        if not ends:
            return "", None, REST
        end = ends[0]
        warning = end.moment - _ahead(end.span)
        if now >= end.moment:
            return "ended", end, 0.0
        if now < warning:
            return "", None, min(REST, warning - now)
        event = "" if self.warned == end.moment else "ending"
        self.warned = end.moment
        return event, end, min(REST, end.moment - now)

    def ends_at(self):
        """When the session ends if there are no more cells; 0: never."""
        return next((end.moment for end in self._ends()), 0.0)

    def _ends(self):
        """The ends, the next one first."""
        ends = []
        if self.keep:
            ends.append(End(self.idle_since + self.keep, self.keep, "keep", "idle for %s" % _span(self.keep)))
        if self.max_age:
            moment = self.old_at or self.started + self.max_age
            ends.append(End(moment, self.max_age, "max_age", "it reached its max_age of %s" % _span(self.max_age)))
        if self.is_bound and self.left_at:
            ends.append(End(self.left_at + RETURN, 0.0, "", "the kernel has ended"))
        return sorted(ends, key=lambda end: end.moment)


def _ahead(span):
    """How long before an end its message comes, in seconds; `span` is the time that the setting gives."""
    return min(WARNING, span / 10)


def _span(seconds):
    if seconds >= 3600 and seconds % 3600 == 0:
        return "%d h" % (seconds // 3600)
    return "%d min" % (seconds // 60) if seconds >= 60 else "%g s" % seconds
