"""The live panel's style sheet: JupyterLab's own variables, with fallbacks for front ends that have none.

Rule: every selector begins with `.uv-argo`; nothing else on the page is touched.
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
 font-size:12px;font-weight:600;color:#fff;background:#57606a;vertical-align:middle}
.uv-argo .uv-badge i{width:6px;height:6px;border-radius:50%;background:#fff;animation:uv-argo-pulse 1.4s infinite}
.uv-argo .uv-badge.uv-pending{background:#9a6700}
.uv-argo .uv-badge.uv-running{background:#0969da}
.uv-argo .uv-badge.uv-stopping{background:#cf222e}
@keyframes uv-argo-pulse{0%,100%{opacity:1}50%{opacity:.25}}
@media (prefers-reduced-motion:reduce){.uv-argo .uv-badge i{animation:none}}
.uv-argo .uv-time{font-variant-numeric:tabular-nums;margin-right:12px}
.uv-argo .uv-name{font-family:var(--jp-code-font-family,monospace);font-size:11px;
 color:var(--jp-ui-font-color2,#57606a)}
.uv-argo .uv-dim{color:var(--jp-ui-font-color2,#57606a);font-size:12px}
.uv-argo .uv-said{margin-top:6px}
.uv-argo .uv-tabs,.uv-argo .uv-stop,.uv-argo .uv-stack{margin:0;width:auto;overflow:visible}
.uv-argo .uv-tabs .widget-toggle-buttons,.uv-argo .uv-tabs>div{display:flex;flex-wrap:nowrap;margin:0;
 border:1px solid var(--jp-border-color2,#d0d7de);border-radius:5px}
.uv-argo .uv-stack>*,.uv-argo .uv-stack .widget-html,.uv-argo .uv-stack .widget-html-content{width:100%;
 box-sizing:border-box}
.uv-argo .uv-tabs button,.uv-argo .uv-stop.jupyter-button,.uv-argo .uv-tools button{display:inline-flex;
 align-items:center;justify-content:center;height:24px;padding:0 10px;margin:0;font:inherit;line-height:1;
 font-size:12px;box-shadow:none;width:auto;background:transparent;
 color:var(--jp-ui-font-color1,inherit);border-radius:4px;cursor:pointer}
.uv-argo .uv-tabs button{border:0}
.uv-argo .uv-tools button{border:1px solid var(--jp-border-color2,#d0d7de)}
.uv-argo .uv-tabs button.mod-active{background:var(--jp-layout-color2,#eaeef2);box-shadow:none;font-weight:600}
.uv-argo .uv-tabs button:hover:not(.mod-active):not(:disabled),.uv-argo .uv-tools button:hover{
 background:var(--jp-layout-color2,#f3f4f6);box-shadow:none}
.uv-argo .uv-stop.jupyter-button{border:1px solid var(--uv-red);color:var(--uv-red)}
.uv-argo .uv-stop.jupyter-button:hover:enabled{background:#cf222e;color:#fff;box-shadow:none}
.uv-argo .uv-stop.jupyter-button:disabled{opacity:.6;cursor:default}
.uv-argo button:focus:not(:focus-visible){outline:0!important;box-shadow:none!important}
.uv-argo button:focus-visible{outline:2px solid var(--uv-blue)!important;outline-offset:1px}
.uv-argo .uv-scroll:focus-visible{outline:2px solid var(--uv-blue);outline-offset:-2px}
.uv-argo .uv-tools{display:flex;align-items:center;gap:6px;margin:8px 0 4px}
.uv-argo .uv-tools>span{flex:1 1 auto;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.uv-argo .uv-tools code{background:transparent;font-size:11px}
.uv-argo .uv-scroll{border-top:1px solid var(--jp-border-color3,#e5e8eb)}
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
