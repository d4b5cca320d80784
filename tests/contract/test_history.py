"""history/store.py, written by many processes at once."""

import subprocess
import sys

from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.core.resolution.lock import Unresolved
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.history import store as kept


def test_many_processes_write_and_prune_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from uv_argo_magic.history.store import History;"
        "from uv_argo_magic.core.spec.run_spec import RunSpec;"
        "from uv_argo_magic.core.resolution.lock import Unresolved;"
        "from uv_argo_magic.core.protocol.state import RunState\n"
        "h = History(Path(sys.argv[1]), keep=5)\n"
        "for i in range(15):\n"
        "    f = h.begin(f'p{sys.argv[2]}-{i}', spec=RunSpec(cell='1'), resolution=Unresolved(lines=(), reason=''))\n"
        "    f.append('x'); f.finish(RunState(ended_at=1.0, outcome='Succeeded')); f.make_room(); h.list()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(i)]) for i in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    assert 5 <= len(kept.History(tmp_path, keep=5).list()) <= 7  # a race may leave one too many, the next run takes it
    unresolved = Unresolved(lines=(), reason="")
    files = kept.History(tmp_path, keep=5).begin("last", spec=RunSpec(cell="1"), resolution=unresolved)
    files.finish(RunState(ended_at=1.0, outcome="Succeeded"))
    files.make_room()
    assert len(kept.History(tmp_path).list()) == 5
