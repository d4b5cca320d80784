"""The live panel's style sheet: JupyterLab's own variables, with fallbacks for front ends that have none.

Rule: every selector begins with `.uv-argo`; nothing else on the page is touched.
"""

CSS = """
.uv-argo{border:1px solid var(--jp-border-color2,#d0d7de);border-radius:6px;padding:8px 12px 10px;margin:2px 20px 6px 0;
 max-width:960px;background:var(--jp-layout-color1,transparent);color:var(--jp-ui-font-color1,inherit);
 font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;overflow:hidden}
.uv-argo .widget-html,.uv-argo .widget-html-content{font-size:13px;line-height:20px;min-height:0}
.uv-argo .uv-head{align-items:center;gap:6px 10px;flex-wrap:wrap;overflow:visible}
.uv-argo .uv-badge{display:inline-flex;align-items:center;gap:6px;border-radius:10px;padding:0 9px;height:20px;
 font-size:12px;font-weight:600;color:#fff;background:#6e7781;margin-right:10px;vertical-align:middle}
.uv-argo .uv-badge i{width:6px;height:6px;border-radius:50%;background:#fff;animation:uv-argo-pulse 1.4s infinite}
.uv-argo .uv-badge.uv-pending{background:#9a6700}
.uv-argo .uv-badge.uv-running{background:#0969da}
@keyframes uv-argo-pulse{0%,100%{opacity:1}50%{opacity:.25}}
.uv-argo .uv-name{font-family:var(--jp-code-font-family,monospace);font-size:12px;margin-right:10px;
 vertical-align:middle}
.uv-argo .uv-dim{color:var(--jp-ui-font-color2,#6e7781);font-size:12px;vertical-align:middle}
.uv-argo .uv-bar{height:3px;border-radius:2px;margin:8px 0;overflow:hidden;position:relative;
 background:var(--jp-border-color3,#e5e8eb)}
.uv-argo .uv-bar::after{content:"";position:absolute;inset:0 auto 0 0;width:30%;border-radius:2px;
 background:#0969da;animation:uv-argo-slide 1.6s infinite ease-in-out}
.uv-argo .uv-bar.uv-pending::after{background:#bf8700}
.uv-argo .uv-bar.uv-stop::after{background:#cf222e}
@keyframes uv-argo-slide{0%{left:-30%}100%{left:100%}}
@media (prefers-reduced-motion:reduce){.uv-argo .uv-bar::after,.uv-argo .uv-badge i{animation:none}}
.uv-argo .uv-tabs,.uv-argo .uv-stop,.uv-argo .uv-stack{margin:0;width:auto}
.uv-argo .uv-tabs .widget-toggle-buttons,.uv-argo .uv-tabs>div{display:flex;flex-wrap:nowrap;margin:0;overflow:hidden;
 border:1px solid var(--jp-border-color2,#d0d7de);border-radius:5px}
.uv-argo .uv-tabs button,.uv-argo .uv-stop.jupyter-button{height:22px;line-height:20px;padding:0 10px;margin:0;
 font-size:12px;box-shadow:none;width:auto;background:transparent;color:var(--jp-ui-font-color1,inherit)}
.uv-argo .uv-tabs button{border:0;border-radius:0}
.uv-argo .uv-tabs button:focus{outline:0}
.uv-argo .uv-tabs button:focus-visible{box-shadow:inset 0 -2px 0 #0969da}
.uv-argo .uv-tabs button.mod-active{background:var(--jp-layout-color3,#e1e4e8);box-shadow:none}
.uv-argo .uv-tabs button:hover:not(.mod-active){background:var(--jp-layout-color2,#f3f4f6);box-shadow:none}
.uv-argo .uv-stop.jupyter-button{border:1px solid #cf222e;border-radius:5px;color:#cf222e}
.uv-argo .uv-stop.jupyter-button:hover:enabled{background:#cf222e;color:#fff;box-shadow:none}
.uv-argo .uv-stop.jupyter-button:disabled{opacity:.6}
[data-jp-theme-light="false"] .uv-argo .uv-stop.jupyter-button{border-color:#ff7b72;color:#ff7b72}
[data-jp-theme-light="false"] .uv-argo .uv-stop.jupyter-button:hover:enabled{background:#cf222e;color:#fff}
.uv-argo .uv-remark{font-size:12px;border-left:3px solid #bf8700;padding-left:8px;margin-top:4px}
.uv-argo pre.uv-log{margin:0;padding:0;font-family:var(--jp-code-font-family,monospace);line-height:1.4;
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
