"""CSS: the style of the HTML report, light and dark."""

STYLE = """
:root{color-scheme:light dark;--ground:#f6f5f2;--card:#fff;--ink:#1d1d1f;--soft:#6b6b70;--line:#e2e0da;
--accent:#2f7d4f;--mark:#c2410c;--better:#1f7a45;--worse:#b4231a;
--c0:#2f7d4f;--c1:#4c9f70;--c2:#8bbf7a;--c3:#d9a441;--c4:#cf6f3c;--c5:#8f5a9e;--c6:#4f78b5;--c7:#8a8a8e}
@media(prefers-color-scheme:dark){:root{--ground:#161618;--card:#212124;--ink:#ececee;--soft:#9a9aa1;--line:#35353a;
--accent:#5cc389;--mark:#f59e5b;--better:#63d297;--worse:#ff8a80;
--c0:#3f9a65;--c1:#5fb385;--c2:#91c683;--c3:#c99b45;--c4:#cc7747;--c5:#a374b1;--c6:#6c92ca;--c7:#8e8e94}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1160px;margin:0 auto;padding:32px 20px 64px}h1{font-size:28px;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:20px;margin:0}h3{font-size:15px;margin:28px 0 8px}
h4{margin:0;font-size:13px;font-weight:500;color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:24px;margin-top:24px}
.facts{color:var(--soft);font-size:13px;margin:4px 0 0;display:flex;flex-wrap:wrap;gap:2px 18px}
.facts b{font-weight:600;color:var(--ink)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:12px;margin-top:20px}
.tile{border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile p{margin:2px 0 0;font-size:12px;color:var(--soft)}
.tile strong{font-size:24px;font-weight:600;font-variant-numeric:tabular-nums}
.tile em{font-style:normal;font-size:13px;margin-left:8px}.better{color:var(--better)}.worse{color:var(--worse)}
.level{color:var(--soft)}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
thead th{color:var(--soft);font-weight:500}tbody th{font-weight:500}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:20px 28px;margin-top:24px}
@media(max-width:520px){.pair{grid-template-columns:1fr}}
figure{margin:0}figcaption{font-size:13px;color:var(--soft);margin-bottom:6px}svg{width:100%;height:auto;display:block}
svg text{font-size:11px;fill:var(--soft)}svg .bar{fill:var(--accent)}svg .axis{stroke:var(--line)}
svg .line{fill:none;stroke:var(--accent);stroke-width:1.2}svg line.mark{stroke:var(--mark);stroke-width:1.5}
svg text.mark{fill:var(--mark)}svg text.in{fill:#fff;font-size:12px}
.c0{fill:var(--c0);background:var(--c0)}.c1{fill:var(--c1);background:var(--c1)}.c2{fill:var(--c2);background:var(--c2)}
.c3{fill:var(--c3);background:var(--c3)}.c4{fill:var(--c4);background:var(--c4)}.c5{fill:var(--c5);background:var(--c5)}
.c6{fill:var(--c6);background:var(--c6)}.c7{fill:var(--c7);background:var(--c7)}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:12px;color:var(--soft);margin:8px 0 0}
.legend i{display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:5px}
.meter{width:110px;height:8px;margin-top:6px;border-radius:4px;background:var(--line)}
.meter i{display:block;height:100%;border-radius:4px;background:var(--accent)}
.reasons{display:inline-block;max-width:320px;overflow:hidden;text-overflow:ellipsis;color:var(--soft)}
summary{cursor:pointer;color:var(--soft);font-size:13px}ul{font-size:13px;padding-left:18px}
"""
