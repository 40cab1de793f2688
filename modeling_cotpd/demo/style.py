"""How the demo looks: on a laptop two columns, on a phone one; light and dark as the system says."""

STYLE = """
.gradio-container { width: 100% !important; max-width: 1320px !important; margin: 0 auto !important }
.gradio-container .main.app { padding: 14px 24px 28px !important }
.gradio-container { --soft: color-mix(in srgb, var(--body-text-color) 68%, transparent) }
#halves > .column { min-width: 0 !important }
#title .html-container, #answer .html-container { padding: 0 !important }
#title .prose, #answer .prose { padding: 0 !important; max-width: none }
#examples .gallery { gap: 7px } #examples .gallery button { text-align: left; width: 100%; min-width: 0 }
#examples .gallery button > * { white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.cotpd-title h1 { font-size: 1.35rem; font-weight: 700; margin: 0 0 .15rem }
.cotpd-title p { margin: 0; color: var(--soft); font-size: .92rem; line-height: 1.4 }
.cotpd-title code { background: none; padding: 0; color: inherit; font-size: .88em; overflow-wrap: anywhere }
.cotpd { color: var(--body-text-color); font-size: 15px; line-height: 1.5 }
.cotpd .views { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 290px), 1fr)); gap: 12px }
.cotpd .card { background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: 10px; padding: 12px 16px 14px; margin: 0 0 12px; min-width: 0 }
.cotpd .views .card { margin: 0 }
.cotpd .views { margin-bottom: 12px }
.cotpd .card.knowledge { border-top: 3px solid #d97706 } .cotpd .card.prompt { border-top: 3px solid #2563eb }
.cotpd h3 { font-size: .95rem; font-weight: 650; margin: 0 0 .45rem }
.cotpd h4 { font-size: .85rem; font-weight: 600; margin: .8rem 0 .2rem; color: var(--soft) }
.cotpd p { margin: 0 0 .5rem } .cotpd .hint { color: var(--soft); font-size: .84rem }
.cotpd .none { color: var(--soft); margin: .2rem 0 0 }
.cotpd .post { font-size: 1.02rem; line-height: 2; overflow-wrap: anywhere; white-space: pre-wrap }
.cotpd mark { border-radius: 5px; padding: .1rem .3rem; unicode-bidi: isolate; font-weight: 500;
  box-decoration-break: clone; -webkit-box-decoration-break: clone }
.cotpd mark .end { white-space: nowrap }
.cotpd .gloss { font-style: normal; font-size: .8em; color: var(--soft); border: 1px solid var(--border-color-primary);
  border-radius: 5px; padding: 0 .3rem } .cotpd u { text-decoration-thickness: 1px; text-underline-offset: 3px }
.cotpd mark small { font-size: .66rem; font-weight: 700; letter-spacing: .03em; margin-left: .3rem; opacity: .68;
  white-space: nowrap }
.cotpd mark, .cotpd mark *, .cotpd .kind { color: #14181f !important }
.cotpd table, .cotpd tr { border: 0 !important } .cotpd table { border-collapse: collapse; width: 100%; margin: 0 }
.cotpd td, .cotpd th { border: 0 !important; padding: .28rem 0; text-align: left; vertical-align: middle;
  background: none; color: inherit }
.cotpd table.scores tr + tr td { border-top: 1px solid var(--border-color-primary) !important }
.cotpd table.scores, .cotpd table.changes { table-layout: fixed }
.cotpd table.scores td:first-child { overflow-wrap: break-word; padding-right: .7rem; line-height: 1.75 }
.cotpd table.scores td:last-child { width: 8.2rem; white-space: nowrap; text-align: right }
.cotpd .bar { display: inline-block; width: 4.2rem; height: 7px; border-radius: 4px; overflow: hidden;
  background: var(--border-color-primary); vertical-align: middle }
.cotpd .bar i { display: block; height: 100%; background: #2563eb; border-radius: 4px }
.cotpd .card.knowledge .bar i { background: #d97706 }
.cotpd .percent { display: inline-block; width: 3.5rem; text-align: right; font-weight: 500; font-size: .84rem;
  font-variant-numeric: tabular-nums }
.cotpd .relation { font-family: var(--font-mono); font-size: .8rem; padding: .08rem .4rem;
  border-radius: 5px; border: 1px solid var(--border-color-primary); background: var(--background-fill-secondary);
  display: inline-block; max-width: 100%; overflow-x: auto; white-space: nowrap; vertical-align: middle }
.cotpd table.changes td:first-child { width: 11rem; white-space: nowrap; padding-right: .6rem }
.cotpd table.changes td:last-child { line-height: 1.9; overflow-wrap: break-word }
.cotpd .kind { white-space: nowrap; font-size: .78rem; font-weight: 600; border-radius: 999px; padding: .14rem .6rem;
  background: #e5e7eb } .cotpd .kind.added { background: #c9efd0 } .cotpd .kind.removed { background: #ffd3da }
.cotpd .arrow { margin: 0 .45rem; color: var(--soft) }
.cotpd .look span { border-radius: 4px; padding: .08rem .16rem; unicode-bidi: isolate }
.cotpd .scroll { overflow-x: auto; padding-bottom: 6px }
.cotpd table.heat { width: auto; border-spacing: 2px; border-collapse: separate; font-size: .8rem }
.cotpd table.heat th { font-weight: 500; vertical-align: bottom; padding: 0 2px; white-space: nowrap;
  color: var(--soft) }
.cotpd table.heat th[scope=col] span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 8.5rem;
  overflow: hidden; text-overflow: ellipsis; display: inline-block; padding-top: 4px }
.cotpd table.heat th[scope=row], .cotpd table.heat tr:first-child th:first-child { position: sticky; left: 0;
  background: var(--block-background-fill); padding-right: 8px; text-align: right }
.cotpd table.heat td { width: 34px; min-width: 22px; height: 19px; padding: 0; border-radius: 3px;
  outline: 1px solid var(--border-color-primary); outline-offset: -1px }
.cotpd table.heat td.rest { outline: 0; text-align: right; padding-left: 8px; font-variant-numeric: tabular-nums;
  color: var(--soft) }
.cotpd dl { margin: 0 } .cotpd dt { font-size: .8rem; font-weight: 600; color: var(--soft) }
.cotpd dd { margin: 0 0 .55rem; overflow-wrap: anywhere; white-space: pre-wrap }
.cotpd ol.similar { list-style: none; margin: 0; padding: 0 }
.cotpd ol.similar li { padding: .55rem 0; margin: 0 }
.cotpd ol.similar li + li { border-top: 1px solid var(--border-color-primary) }
.cotpd ol.similar .post { line-height: 1.85; margin-bottom: .25rem; font-size: .97rem }
.cotpd ol.similar .head { display: flex; align-items: center; gap: .4rem; justify-content: space-between }
.cotpd ol.similar code { font-size: .78rem; color: var(--soft); background: none; padding: 0 }
.cotpd ol.similar .head .bar { margin-left: auto }
.cotpd summary { cursor: pointer; font-size: .86rem; color: var(--soft) }
.cotpd details dl { margin-top: .4rem }
.cotpd .notice { border-color: #d97706; background: rgba(217, 119, 6, .09) }
.cotpd .notice p { margin: 0; overflow-wrap: anywhere }
@media (max-width: 700px) {
  .gradio-container .main.app { padding: 10px 12px 24px !important }
  #halves { flex-direction: column } #halves > .column { flex: none !important; width: 100% }
  .cotpd .card { padding: 11px 12px 12px }
  .cotpd table.changes td { display: block; width: auto !important }
  .cotpd table.changes td:first-child { padding-bottom: 0 }
  .cotpd table.scores td:last-child { width: 7.2rem }
  .cotpd .bar { width: 3.2rem }
}
"""
