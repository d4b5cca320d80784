"""A separate JupyterLab with a notebook in Debian's Chromium, for the browser tests and the README's picture."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat

from support.waiting import LIMIT

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
KERNELS = ("6.31.0", "7.3.0", "7.4.0")
"""Releases of ipykernel that handle messages differently while a cell blocks the kernel."""
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
VIEWPORT = {"width": 1280, "height": 900}
KERNEL_IDLE = "()=>window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status==='idle'"


class Lab:
    """The server, which is one process with its own folders."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self.home = folder / "home"
        self.notebooks.mkdir(parents=True)
        self.token = secrets.token_hex(16)
        settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(NO_NEWS), encoding="utf-8")
        with socket.socket() as free_socket:
            free_socket.bind(("127.0.0.1", 0))
            self.port = free_socket.getsockname()[1]
        names = ("SETTINGS", "WORKSPACES")
        own_environ = {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in names}
        own_environ |= {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        own_environ |= {"IPYTHONDIR": str(folder / "ipython"), "UV_ARGO_HOME": str(self.home), "PYTHONPATH": path}
        own_environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("UV_ARGO_")}
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
                f"--port={self.port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={self.notebooks}", "--LabApp.expose_app_in_browser=True",
                "--LabApp.extension_manager=readonly",
            ],
            env=inherited | own_environ, cwd=folder, stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                self.request("api/status")
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise RuntimeError((folder / "server.log").read_text(encoding="utf-8")) from None
                time.sleep(0.1)
            else:
                return

    def request(self, path, method="GET"):
        """Send a request to the server, and return the JSON response."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}", headers={"Authorization": f"token {self.token}"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
        return json.loads(text) if text else None

    def add_kernel(self, name, python):
        """Add a kernel with this Python."""
        folder = self.folder / "data" / "kernels" / name
        folder.mkdir(parents=True, exist_ok=True)
        argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel_spec = {"argv": argv, "display_name": name, "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(kernel_spec), encoding="utf-8")

    def write(self, name, *cells, kernel="python3"):
        """Write a notebook with these code cells, without outputs; return its path."""
        cells = [nbformat.v4.new_code_cell(text) for text in cells]
        spec = {"name": kernel, "display_name": kernel, "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
        nbformat.write(notebook, self.notebooks / name)
        return self.notebooks / name

    def close_sessions(self):
        """End all kernels."""
        for session in self.request("api/sessions"):
            self.request(f"api/sessions/{session['id']}", "DELETE")

    def close(self):
        """End the server and its kernels."""
        with contextlib.suppress(OSError):
            self.close_sessions()
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Notebook:
    """An open notebook in a page; it replaces the one that is open there, without loading JupyterLab again."""

    def __init__(self, lab, page, name, *, kernel=True):
        self.lab, self.page, self.name = lab, page, name
        if page.evaluate("()=>Boolean(window.jupyterapp)"):
            self.close()
            self.command("docmanager:open", path=name, factory="Notebook")
            page.wait_for_function("name=>window.jupyterapp.shell.currentWidget?.context?.path===name", arg=name)
        else:
            self.load()
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        if kernel:
            page.wait_for_function(KERNEL_IDLE)

    def load(self):
        """Load JupyterLab in the page, with this notebook."""
        self.page.goto(f"http://127.0.0.1:{self.lab.port}/doc/tree/{self.name}?token={self.lab.token}")

    def close(self):
        """Close the notebook of the page without saving it."""
        self.page.evaluate("()=>window.jupyterapp.shell.currentWidget?.dispose()")

    def reload(self):
        """Save the notebook, and reload the page."""
        self.command("docmanager:save")
        # During a run, the notebook never stays saved, so wait for a change of its file.
        path = self.lab.notebooks / self.name
        deadline = time.monotonic() + LIMIT
        while "widget-view" not in path.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline, "the live panel was not saved"
            self.page.wait_for_timeout(50)
        self.load()
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")

    def cell(self, number):
        """The element of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def run(self, number):
        """Run a cell and select the next one, like Shift+Enter."""
        self.page.evaluate(
            "n=>{const b=window.jupyterapp.shell.currentWidget.content;b.deselectAll();b.activeCellIndex=n;"
            "window.jupyterapp.commands.execute('notebook:run-cell')}",
            number,
        )

    def run_through(self, number):
        """Run a cell, and wait for its end."""
        self.run(number)
        self.wait_for_end(number)

    def text(self, number):
        """The text of a cell's outputs."""
        return self.cell(number).locator(".jp-OutputArea").inner_text()

    def wait_for_text(self, number, text):
        """Wait until a cell's outputs contain the text."""
        self.page.wait_for_function(
            "([n, text])=>document.querySelectorAll('.jp-Notebook .jp-Cell')[n].querySelector('.jp-OutputArea')"
            "?.textContent.includes(text)",
            arg=[number, text],
        )

    def command(self, name, **arguments):
        """Run a command of JupyterLab."""
        self.page.evaluate("async([n,a])=>{await window.jupyterapp.commands.execute(n,a)}", [name, arguments])

    def wait_for_end(self, number):
        """Wait until a cell has ended and shows its execution number."""
        self.page.wait_for_function(
            "n=>/^\\[\\d+\\]/.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[n]"
            ".querySelector('.jp-InputPrompt').textContent)",
            arg=number,
        )

    def outputs(self, number):
        """The outputs of a cell, in the form in which they are saved."""
        return self.page.evaluate(
            "n=>window.jupyterapp.shell.currentWidget.content.widgets[n].model.outputs.toJSON()", number
        )

    def theme(self, name):
        """Select a theme: "JupyterLab Light" or "JupyterLab Dark"."""
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_function(
            "light=>document.body.dataset.jpThemeLight===light", arg="false" if "Dark" in name else "true"
        )


@contextlib.contextmanager
def browser(play, **options):
    """Chromium with a new profile."""
    with tempfile.TemporaryDirectory() as profile:
        context = play.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=list(FLAGS),
            permissions=["clipboard-read", "clipboard-write"], **{"viewport": VIEWPORT} | options,
        )  # fmt: skip
        try:
            yield context
        finally:
            context.close()


def new_page(context):
    """A new page that can be left with unsaved changes."""
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    return page


def unfold(page, name):
    """Click the line of the panel (`run`), or one of those in it (`log`, `packages`)."""
    page.locator(f".uv-fold-{name} summary").click()


def save_screenshot(notebook, name, number=1):
    """Save a screenshot of a cell: test-artifacts/NAME.png."""
    notebook.page.wait_for_timeout(300)  # until the transition of the theme has ended
    notebook.cell(number).scroll_into_view_if_needed()
    notebook.page.screenshot(path=ROOT / "test-artifacts" / f"{name}.png")


def focus(page, selector, *, back=False):
    """Press Tab until the element has the focus, and check that the focus is visible."""
    for _ in range(40):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if page.evaluate("s=>document.activeElement?.matches(s)", selector):
            break
    assert page.evaluate("s=>document.activeElement?.matches(s)", selector), f"Tab does not reach {selector}"
    ring = page.evaluate("()=>getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid", "the focus cannot be seen"


def wait_until_fits(page, root, parts):
    """Wait until the element is within the window, and its parts are within the element."""
    page.wait_for_function(
        """([root,parts])=>{const p=document.querySelector(root),w=p.getBoundingClientRect();
        return w.right<=window.innerWidth&&[...p.querySelectorAll(parts)]
         .filter(e=>e.offsetParent).every(e=>e.getBoundingClientRect().right<=w.right+1)}""",
        arg=[root, parts],
    )


def contrasts(page, root, *parts):
    """Contrast ratios between the text of each part and its background."""
    return page.evaluate(CONTRAST, [f"{root} {part}" for part in parts])


CONTRAST = """parts=>{
const lum=c=>{const v=c.slice(0,3).map(x=>{x/=255;return x<=.03928?x/12.92:((x+.055)/1.055)**2.4});
 return .2126*v[0]+.7152*v[1]+.0722*v[2]};
const parse=s=>s.match(/[\\d.]+/g).map(Number);
const back=e=>{for(;e;e=e.parentElement){const c=parse(getComputedStyle(e).backgroundColor);
 if(c.length<4||c[3]>0.99)return c}return [255,255,255]};
const out={};
for(const s of parts){
 const e=document.querySelector(s);
 const [a,b]=[lum(parse(getComputedStyle(e).color)),lum(back(e))].sort((x,y)=>y-x);
 out[s]=(a+.05)/(b+.05)}
return out}"""
