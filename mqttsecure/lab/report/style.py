# -*- test-case-name: tests.lab.report.test_page -*-
"""How the report looks: light and dark, wide and narrow, on screen and on paper. No font or picture from elsewhere."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2330; --soft: #5a6675; --paper: #ffffff; --panel: #f4f6f9; --line: #d5dbe3;
  --client: #1f5fbf; --server: #a2471a; --good: #1c7a3d; --bad: #b3261e; --warn: #8a6100; --shade: #e3edf9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9f0; --soft: #9aa7b7; --paper: #12171f; --panel: #1b222d;
  --line: #36414f; --client: #7fb2ff; --server: #ffab7a; --good: #6fd08f; --bad: #ff8a80; --warn: #f0c35b;
  --shade: #1d2c42; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", "PingFang SC",
  "Microsoft YaHei", sans-serif; }
main, header { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.2rem 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 48rem; }
code, .bytes { font-family: ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; font-size: .86em; }
a { color: var(--client); } .contents a { margin-right: 1.2rem; display: inline-block; }
.soft { color: var(--soft); }
.verdict { font-size: 1.1rem; font-weight: 600; padding: .7rem .9rem; border-left: .35rem solid var(--good);
  background: var(--panel); border-radius: .3rem; max-width: none; }
.verdict.bad { border-color: var(--bad); } .verdict.warn { border-color: var(--warn); }
.ok { color: var(--good); } .bad { color: var(--bad); } .unknown, .warn { color: var(--warn); }
.verdict.bad, .verdict.warn { color: inherit; }
.wide { overflow-x: auto; margin: .6rem 0; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: nowrap; overflow-wrap: normal; }
td { min-width: 4.5rem; overflow-wrap: anywhere; } td .label { display: none; }
td b { overflow-wrap: normal; } .attacks td:nth-child(2), .attacks td:nth-child(5) { min-width: 11rem; }
svg { display: block; width: 100%; height: auto; max-width: 54rem; }
svg.narrow { max-width: 26rem; margin: 0 auto; } svg.layers, svg.validity { max-width: 30rem; }
figure { margin: 1.2rem 0; } figure p { margin: .25rem 0; }
.picture svg.narrow { display: none; }
@media (max-width: 44rem) { .picture svg.broad { display: none; } .picture svg.narrow { display: block; } }
svg text { fill: var(--ink); font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
svg .small { fill: var(--soft); font-size: 11px; } svg .head { font-weight: 600; }
svg .rail { stroke: var(--line); stroke-width: 2; } svg .shade { fill: var(--shade); }
svg .client { stroke: var(--client); stroke-width: 1.6; } svg .server { stroke: var(--server); stroke-width: 1.6; }
svg .lock { fill: var(--paper); stroke: var(--warn); stroke-width: 1.5; }
svg .tip-client { fill: var(--client); stroke: none; } svg .tip-server { fill: var(--server); stroke: none; }
svg .start { stroke: var(--warn); stroke-width: 2; stroke-dasharray: 5 3; }
svg .bar { fill: var(--shade); stroke: var(--client); } svg .bar.outside { stroke: var(--bad); }
svg .now { stroke: var(--bad); stroke-width: 2; }
svg .box { fill: var(--panel); stroke: var(--line); }
.ladders { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1rem; }
.ladders figure { margin: 0; padding: .6rem; background: var(--panel); border-radius: .4rem; min-width: 0; }
.ladders svg .lock { fill: var(--panel); }
figcaption { font-weight: 600; margin-bottom: .3rem; }
h4 { font-size: .95rem; margin: .8rem 0 .2rem; } summary .value { flex-basis: 100%; font-size: .92rem; }
ul.checks { margin: .4rem 0; padding-left: 1.1rem; }
.place { font-family: ui-monospace, Consolas, monospace; font-size: .8em; }
.chain { margin: .5rem 0; } .link { margin: .15rem 1rem; }
.certificate, .correction { border: 1px solid var(--line); border-radius: .4rem; padding: .2rem .9rem .5rem; }
.certificate, .correction { margin: .5rem 0; }
.certificate { border-left: .3rem solid var(--good); } .certificate.wrong { border-left-color: var(--bad); }
.correction h3 { margin: .5rem 0 0; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; background: var(--panel); }
summary { cursor: pointer; padding: .5rem .8rem .5rem 1.6rem; position: relative; display: flex; flex-wrap: wrap;
  gap: .1rem .8rem; align-items: baseline; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary::before { content: ""; position: absolute; left: .7rem; top: .95rem; border: .3rem solid transparent;
  border-left-color: var(--soft); border-right-width: 0; }
details[open] > summary::before { transform: rotate(90deg); }
summary b { min-width: 9rem; }
details > div { padding: 0 .8rem .8rem; background: var(--paper); border-radius: 0 0 .4rem .4rem; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .2rem 1rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; }
.bytes { display: block; white-space: pre; overflow-x: auto; padding: .5rem;
  border: 1px solid var(--line); border-radius: .3rem; }
ul.fields { margin: .3rem 0; padding-left: 1.1rem; } ul.fields ul { padding-left: 1.1rem; }
nav.switch { display: flex; gap: 1rem; padding: .8rem 1rem 0; max-width: 68rem; margin: 0 auto; }
input.language { position: absolute; opacity: 0; width: 1px; height: 1px; }
nav.switch label { cursor: pointer; padding: .15rem .7rem; border: 1px solid var(--line); border-radius: 1rem; }
#language-en:checked ~ nav label[for="language-en"], #language-zh:checked ~ nav label[for="language-zh"] {
  background: var(--ink); color: var(--paper); }
#language-en:focus-visible ~ nav label[for="language-en"], #language-zh:focus-visible ~ nav label[for="language-zh"] {
  outline: 3px solid var(--client); }
#language-en:checked ~ main [lang="zh"], #language-en:checked ~ header [lang="zh"],
#language-en:checked ~ footer [lang="zh"] { display: none; }
#language-zh:checked ~ main [lang="en"], #language-zh:checked ~ header [lang="en"],
#language-zh:checked ~ footer [lang="en"] { display: none; }
footer { max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .3rem; } summary b { min-width: 0; }
  ul.fields { padding-left: .9rem; } table, tbody, tr, td { display: block; } thead { display: none; }
  tr { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: .2rem .6rem; }
  td, .attacks td:nth-child(n) { display: flex; gap: .2rem .8rem; border: 0; padding: .15rem 0; min-width: 0; }
  td .label { display: block; flex: 0 0 7rem; color: var(--soft); } td .cell { min-width: 0; } }
@media print { nav.switch { display: none; } svg, tr, dl, summary, .correction { break-inside: avoid; }
  h2, h3, h4, summary, figcaption { break-after: avoid; } body { font-size: 10pt; }
  details::details-content { display: block; content-visibility: visible; block-size: auto; }
  .wide, .bytes { overflow: visible; } .bytes { white-space: pre-wrap; } table { font-size: .82rem; }
  th { white-space: normal; } td { min-width: 3.8rem; }
  .attacks td:nth-child(n) { min-width: 4rem; } .denials td:nth-child(-n+2) { min-width: 8.5rem; }
  .picture svg.broad { max-height: 165mm; }
  .ladders { grid-template-columns: 1fr 1fr; } .ladders figure { break-inside: avoid; } }
"""
