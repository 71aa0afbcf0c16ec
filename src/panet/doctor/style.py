"""The report's style: light and dark, from a phone to a wide screen; no script, no font or file from elsewhere."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --text: #1b1f24; --soft: #59636e; --line: #d6dbe1;
  --train: #2f6fde; --val: #e08a1e; --mark: #c2255c; --warn: #8a5a00; --warn-ground: #fff1d0; --bad: #a8071a;
  --bad-ground: #ffe3e3; --good: #1a6b35; --good-ground: #dcf5e3; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --card: #1d2126; --text: #e6e9ed; --soft: #9aa4af;
  --line: #353b43; --train: #6ea3ff; --val: #f0a94a; --mark: #ff7aa8; --warn: #ffd479; --warn-ground: #3a2e12;
  --bad: #ff9c9c; --bad-ground: #431d20; --good: #8fe0a6; --good-ground: #16351f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 20px 16px 60px; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.2rem; margin: 36px 0 10px; }
h3 { font-size: 1.02rem; margin: 0; display: flex; gap: 8px; flex-wrap: wrap; align-items: baseline; }
p { margin: 6px 0; }
a { color: var(--train); }
code { font: 0.88em ui-monospace, SFMono-Regular, Menlo, monospace; }
.soft { color: var(--soft); }
.verdict { display: inline-block; padding: 6px 12px; border-radius: 8px; margin: 10px 0; font-weight: 600; }
.good { color: var(--good); background: var(--good-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.chip { font-size: 0.76rem; font-weight: 600; padding: 1px 8px; border-radius: 99px; white-space: nowrap;
  color: var(--bad); background: var(--bad-ground); }
.chip.warn { color: var(--warn); background: var(--warn-ground); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.table { overflow-x: auto; padding: 4px 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 0.85rem; }
th:first-child { min-width: 9em; }
th, td { padding: 6px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th.number, td.number { text-align: right; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 14px; }
.charts h3 { margin-bottom: 8px; }
.rule { margin-top: 14px; }
.rule dl { margin: 8px 0 12px; display: grid; grid-template-columns: max-content 1fr; gap: 2px 12px; }
.rule dt { color: var(--soft); }
.rule dd { margin: 0; }
.crops { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); gap: 12px; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; background: var(--ground); }
figure .frame { height: 230px; display: flex; align-items: center; justify-content: center; background: #0b0d10; }
figure img { max-width: 100%; max-height: 230px; display: block; }
figcaption { padding: 8px 10px; font-size: 0.86rem; }
figcaption b { display: block; }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--soft); }
li { font-size: 0.9rem; margin: 3px 0; }
.key span { display: inline-block; margin-right: 14px; white-space: nowrap; font-size: 0.86rem; color: var(--soft); }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 5px;
  vertical-align: -1px; }
i.train { background: var(--train); } i.val { background: var(--val); }
i.mask { background: #00dcff; } i.stored { background: #ffc800; } i.outline { background: #ff46c8; }
i.spot { background: #ff3228; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg .train { fill: var(--train); } svg .val { fill: var(--val); }
svg .grid { stroke: var(--line); } svg .mark { stroke: var(--mark); stroke-dasharray: 4 3; }
svg text { fill: var(--soft); } svg .marked { fill: var(--mark); font-size: 11px; } svg .label { fill: var(--text); }
@media (max-width: 560px) { .rule dl { grid-template-columns: 1fr; } .rule dt { margin-top: 6px; font-size: 0.85rem; }
  .card { padding: 12px; } svg { font-size: 14px; } .table th, .table td { padding: 6px 5px; font-size: 0.86rem; } }
"""
