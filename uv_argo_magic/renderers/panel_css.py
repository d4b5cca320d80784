"""The style sheet of the live panel; it uses JupyterLab's variables, with fallbacks for other front ends.

Rule: every selector begins with `.uv-argo`, so that nothing else on the page is affected.
"""

CSS = """
.uv-argo{--uv-blue:#0969da;--uv-red:#cf222e;--uv-amber:#9a6700;border:1px solid var(--jp-border-color2,#d0d7de);
 border-radius:6px;padding:8px 12px 6px;margin:2px 20px 6px 0;max-width:960px;overflow:hidden;
 background:var(--jp-layout-color1,transparent);color:var(--jp-ui-font-color1,inherit);
 font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px}
[data-jp-theme-light="false"] .uv-argo{--uv-blue:#58a6ff;--uv-red:#ff7b72;--uv-amber:#d29922}
.uv-argo .widget-html,.uv-argo .widget-html-content{font-size:13px;line-height:20px;min-height:0;height:auto}
.uv-argo .uv-head{align-items:center;gap:6px 10px;flex-wrap:wrap;overflow:visible}
.uv-argo .uv-badge{display:inline-flex;align-items:center;gap:6px;border-radius:10px;padding:0 9px;height:20px;
 font-size:12px;font-weight:600;color:#fff;background:#57606a;vertical-align:top}
.uv-argo .uv-badge i{width:6px;height:6px;border-radius:50%;background:#fff;animation:uv-argo-pulse 1.4s infinite}
.uv-argo.uv-run{border:0;border-radius:0;padding:0 0 0 8px;margin:0;background:transparent}
.uv-argo.uv-run>*{width:100%;margin:0;overflow:visible}
.uv-argo.uv-run .uv-head{position:relative;height:23px;gap:8px;flex-wrap:nowrap;padding-left:14px}
.uv-argo.uv-run .uv-badge{background:transparent;color:inherit;padding:0 0 0 2px;font-size:13px;gap:6px}
.uv-argo.uv-run .uv-badge i{width:8px;height:8px}
.uv-argo.uv-run .uv-line{pointer-events:none;position:relative}
.uv-argo.uv-run .uv-fold-run{position:absolute;left:0;top:0;width:100%;height:23px}
.uv-argo.uv-run details{margin:0}
.uv-argo.uv-run summary{cursor:pointer;font-size:12px;line-height:20px}
.uv-argo.uv-run .uv-fold-run summary{font-size:13px;line-height:23px;height:23px}
.uv-argo.uv-run .uv-facts{flex:0 1 auto;opacity:.75}
.uv-argo.uv-run .uv-stop.jupyter-button{position:relative;height:19px;padding:0 8px;flex:0 0 auto}
.uv-argo.uv-run .uv-body,.uv-argo.uv-run .uv-packages,.uv-argo.uv-run .uv-logbox{display:none}
.uv-argo.uv-run:has(.uv-fold-run details[open]) .uv-body{display:block;border-left:1px solid rgba(128,128,128,.35);
 margin:2px 0 6px 4px;padding-left:12px;width:auto}
.uv-argo.uv-run:has(.uv-fold-packages details[open]) .uv-packages,
.uv-argo.uv-run:has(.uv-fold-log details[open]) .uv-logbox{display:block}
.uv-argo.uv-run .uv-notes{padding-left:18px;width:auto}
@keyframes uv-argo-pulse{0%,100%{opacity:1}50%{opacity:.25}}
@media (prefers-reduced-motion:reduce){.uv-argo .uv-badge i{animation:none}}
.uv-argo .uv-facts,.uv-argo .uv-facts .widget-html-content{min-width:0;overflow:hidden;white-space:nowrap;
 text-overflow:ellipsis}
.uv-argo .uv-time{font-variant-numeric:tabular-nums;margin-right:12px}
.uv-argo .uv-name{font-family:var(--jp-code-font-family,monospace);font-size:11px;
 color:var(--jp-ui-font-color2,#57606a)}
.uv-argo .uv-dim{color:var(--jp-ui-font-color2,#57606a);font-size:12px}
.uv-argo .uv-sentence{margin-top:6px}
.uv-argo .uv-stop{margin:0;width:auto;overflow:visible}
.uv-argo .uv-stop.jupyter-button,.uv-argo .uv-tools button{display:inline-flex;
 align-items:center;justify-content:center;height:24px;padding:0 10px;margin:0;font:inherit;line-height:1;
 font-size:12px;box-shadow:none;width:auto;background:transparent;
 color:var(--jp-ui-font-color1,inherit);border-radius:4px;cursor:pointer}
.uv-argo .uv-tools button{border:1px solid var(--jp-border-color2,#d0d7de)}
.uv-argo .uv-tools button:hover{
 background:var(--jp-layout-color2,#f3f4f6);box-shadow:none}
.uv-argo .uv-stop.jupyter-button{border:1px solid var(--uv-red);color:var(--uv-red)}
.uv-argo .uv-stop.jupyter-button:hover:enabled{background:#cf222e;color:#fff;box-shadow:none}
.uv-argo .uv-stop.jupyter-button:disabled{opacity:.6;cursor:default}
.uv-argo button:focus:not(:focus-visible){outline:0!important;box-shadow:none!important}
.uv-argo button:focus-visible,.uv-argo summary:focus-visible{
 outline:2px solid var(--uv-blue)!important;outline-offset:1px}
.uv-argo .uv-scroll:focus-visible{outline:2px solid var(--uv-blue);outline-offset:-2px}
.uv-argo .uv-tools{display:flex;flex-wrap:wrap;align-items:center;gap:6px;margin:8px 0 4px}
.uv-argo .uv-tools>span{flex:1 1 240px;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.uv-argo .uv-again .uv-tools{margin:0 0 4px}
.uv-argo .uv-again .uv-tools>span{flex:0 1 auto;white-space:normal}
.uv-argo .uv-again .uv-tools button{height:20px;padding:0 8px}
.uv-argo .uv-tools code{background:transparent;font-size:11px}
.uv-argo .uv-scroll{border:solid var(--jp-border-color3,#e5e8eb);border-width:1px 0}
.uv-argo .uv-remark{font-size:12px;border-left:3px solid #bf8700;padding-left:8px;margin-top:4px}
.uv-argo pre.uv-log{margin:0;padding:4px 0 0;font-family:var(--jp-code-font-family,monospace);line-height:1.4;
 font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere;background:transparent;
 color:var(--jp-content-font-color1,inherit)}
.uv-argo table td{background:transparent}
[data-jp-theme-light="false"] .uv-argo .uv-a1{color:#ff7b72!important}
[data-jp-theme-light="false"] .uv-argo .uv-a2{color:#3fb950!important}
[data-jp-theme-light="false"] .uv-argo .uv-a3{color:#d29922!important}
[data-jp-theme-light="false"] .uv-argo .uv-a4{color:#6cb0ff!important}
[data-jp-theme-light="false"] .uv-argo .uv-a5{color:#d2a8ff!important}
[data-jp-theme-light="false"] .uv-argo .uv-a6{color:#56d4dd!important}
[data-jp-theme-light="false"] .uv-argo .uv-a0{color:#8b949e!important}
"""

EDIT_CSS = """
.uv-argo.uv-edit{padding:8px 12px}
.uv-argo .uv-title{font-weight:600;margin-right:10px}
.uv-argo .uv-listed{flex-flow:row wrap;align-items:center;gap:6px;margin:8px 0 6px;overflow:visible;width:auto}
.uv-argo .uv-chips{display:contents}
.uv-argo .uv-chip{align-items:center;height:24px;margin:0;padding:0 2px 0 9px;border-radius:12px;overflow:visible;
 width:auto;border:1px solid var(--jp-border-color2,#d0d7de);background:var(--jp-layout-color2,#f6f8fa)}
.uv-argo .uv-chip .uv-req{display:inline-flex;align-items:baseline;gap:6px;white-space:nowrap;font-size:12px;
 font-family:var(--jp-code-font-family,monospace);line-height:22px}
.uv-argo .uv-chip.uv-bad{border-color:var(--uv-red);background:transparent}
.uv-argo .uv-chip.uv-bad .uv-req{color:var(--uv-red)}
.uv-argo .uv-chip .uv-mark{font-family:var(--jp-ui-font-family,sans-serif);font-weight:600;font-size:11px}
.uv-argo .uv-x.jupyter-button{width:20px;height:20px;min-width:0;padding:0;margin:0 0 0 4px;border:0;border-radius:50%;
 background:transparent;box-shadow:none;color:var(--jp-ui-font-color2,#57606a);font-size:14px;line-height:20px}
.uv-argo .uv-x.jupyter-button::before{content:"\\00d7";content:"\\00d7" / ""}
.uv-argo .uv-x.jupyter-button:hover:enabled{background:var(--jp-layout-color3,#d0d7de);box-shadow:none;
 color:var(--jp-ui-font-color0,inherit)}
.uv-argo .uv-add,.uv-argo .uv-area{position:relative;margin:0}
.uv-argo .uv-add{flex:1 1 220px;max-width:340px;width:auto;height:26px}
.uv-argo .uv-add .widget-label,.uv-argo .uv-area .widget-label{position:absolute;width:1px;height:1px;overflow:hidden;
 clip-path:inset(50%);white-space:nowrap}
.uv-argo .uv-add input,.uv-argo .uv-area textarea{font-family:var(--jp-code-font-family,monospace)!important;
 font-size:12px!important;border:1px solid var(--jp-border-color2,#d0d7de)!important;border-radius:5px;
 background:var(--jp-layout-color1,transparent)!important;color:var(--jp-ui-font-color1,inherit)!important;
 height:26px!important;padding:0 8px!important;box-shadow:none!important}
.uv-argo .uv-area{width:auto;margin:8px 0 6px}
.uv-argo .uv-area textarea{height:auto!important;min-height:92px;padding:6px 8px!important;line-height:1.5;
 white-space:pre;resize:vertical}
.uv-argo .uv-add input:focus-visible,.uv-argo .uv-area textarea:focus-visible{
 outline:2px solid var(--uv-blue)!important;outline-offset:-1px;border-color:transparent!important}
.uv-argo .uv-add input::placeholder{color:var(--jp-ui-font-color2,#57606a);opacity:1}
.uv-argo .uv-tool.jupyter-button,.uv-argo .uv-copy button{display:inline-flex;align-items:center;
 justify-content:center;height:24px;width:auto;padding:0 10px;margin:0;font:inherit;font-size:12px;line-height:1;
 box-shadow:none;cursor:pointer;
 background:transparent;color:var(--jp-ui-font-color1,inherit);border:1px solid var(--jp-border-color2,#d0d7de);
 border-radius:5px}
.uv-argo .uv-tool.jupyter-button:hover:enabled,.uv-argo .uv-copy button:hover{
 background:var(--jp-layout-color2,#f3f4f6);box-shadow:none}
.uv-argo .uv-tool.jupyter-button:disabled{opacity:.45;cursor:default}
.uv-argo .uv-tool.mod-active{background:var(--jp-layout-color2,#eaeef2);font-weight:600}
.uv-argo .uv-status .uv-badge{margin-right:8px}
.uv-argo .uv-status .uv-sentence{margin:0}
.uv-argo .uv-status .uv-hint{margin-top:2px}
.uv-argo .uv-badge.uv-checking{background:#0969da}
.uv-argo .uv-badge.uv-resolved{background:#1a7f37}
.uv-argo .uv-badge.uv-problem{background:#cf222e}
.uv-argo.uv-edit .uv-badge:not(.uv-checking) i{display:none}
.uv-argo .uv-foot{margin-top:4px}
.uv-argo .uv-foot .uv-remark{margin:2px 0 4px}
.uv-argo .uv-remark.uv-done{border-left-color:#1a7f37}
"""
"""Additional styles of the requirements editor."""

_LIVE = ".uv-live:not(.jupyter-widgets-disconnected)"
_STATIC = ".jp-OutputArea-child:has(.uv-static)"

LIVE_OR_STATIC_CSS = (
    f"<style>{_STATIC}:has(+.jp-OutputArea-child {_LIVE}),"
    f"{_STATIC}+.jp-OutputArea-child:not(:has([data-mime-type])):not(:has({_LIVE})),"
    "body[data-vscode-theme-kind] .uv-static{display:none!important}</style>"
)
"""Makes JupyterLab show either a static form (`uv-static`) or the widget in the next output (`uv-live`): the widget if
it is connected to a kernel, otherwise the static form.

The classes are JupyterLab's; among its outputs, only widgets and their error messages have no data-mime-type. VS Code
does not support this, and shows the widget.
"""
