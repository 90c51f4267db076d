"""The style sheet and the script of a report. Colours are variables, so that dark mode and print change them in one place."""

CSS = """
:root{--bg:#fff;--fg:#1c1f23;--soft:#667;--edge:#dde1e6;--card:#f6f7f9;--good:#2b8a3e;--bad:#c92a2a;--odd:#b35c00;
--c0:#2563c9;--c1:#d9480f;--c2:#2b8a3e;--c3:#9c36b5;--c4:#b08900;
--c5:#0b7285;--c6:#c2255c;--c7:#5c940d;--c8:#495057;--c9:#7048e8}
@media (prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e6e8eb;--soft:#9aa3ad;--edge:#343a42;--card:#1e2228;
--good:#69db7c;--bad:#ff8787;--odd:#ffb86b;
--c0:#74a9ff;--c1:#ff9e64;--c2:#69db7c;--c3:#da9cf0;--c4:#ffd43b;
--c5:#66d9e8;--c6:#faa2c1;--c7:#c0eb75;--c8:#ced4da;--c9:#b197fc}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
main{max-width:1180px;margin:auto;padding:1rem 1.2rem 3rem}
h1{font-size:1.45rem;margin:.4rem 0;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:2rem 0 .6rem;border-bottom:1px solid var(--edge);padding-bottom:.2rem}
h3{font-size:.95rem;margin:.8rem 0 .3rem;overflow-wrap:anywhere}
p{margin:.3rem 0}.soft,small,figcaption{color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:.7rem .9rem;min-width:0}
.verdict{border-left:5px solid var(--odd);margin:.6rem 0}.verdict.good{border-color:var(--good)}
.verdict.bad{border-color:var(--bad)}
.verdict b{font-size:1.15rem}
.facts{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;margin:.4rem 0}.facts span{white-space:nowrap}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.18rem .6rem .18rem 0;text-align:left;vertical-align:top;
border-bottom:1px solid var(--edge);overflow-wrap:anywhere}
th{font-weight:500}.n{text-align:right}
.bar{display:block;height:5px;border-radius:2px;background:var(--c0);min-width:1px;margin-top:2px}
.bar.before{background:var(--soft)}
.scores td{min-width:84px}
figure{margin:0;min-width:0}figcaption{font-size:.85rem}
svg{width:100%;height:auto;display:block}
svg text{font-size:11px;fill:var(--soft)}svg line{stroke:var(--edge)}
polyline{fill:none;stroke-width:1.6;vector-effect:non-scaling-stroke}
.map{background:var(--card);border:1px solid var(--edge);border-radius:8px}.map circle{fill-opacity:.75}
.map circle:hover{stroke:var(--fg);fill-opacity:1}
.legend{display:flex;flex-wrap:wrap;gap:.1rem .9rem;font-size:.85rem}.legend i{display:inline-block;width:.7em;height:.7em;
border-radius:50%;margin-right:.35em}
.strip{display:flex;gap:.5rem;overflow-x:auto;padding:.3rem 0;align-items:flex-start}
.strip figure{flex:1 1 0;min-width:76px;max-width:124px;font-size:.8rem;overflow-wrap:anywhere}
.strip figure:first-child{border-right:2px solid var(--edge);padding-right:.5rem}
img{width:100%;display:block;background:#000;border-radius:3px;object-fit:contain;max-height:150px}img.tiny{image-rendering:pixelated}
.row{margin-bottom:.8rem}.row table{font-size:.78rem}.row td,.row th{overflow-wrap:break-word;min-width:4.6rem}
.row th{color:var(--soft);font-weight:400}td.changed{color:var(--c1);font-weight:600}
summary{cursor:pointer;color:var(--soft);font-size:.8rem}
.drawing{background:var(--card);border-radius:4px}.drawing line{stroke:var(--soft);stroke-width:.6}
.drawing circle{fill:var(--c0)}.drawing .itself{fill:var(--c1)}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,560px),1fr));gap:.2rem 1.2rem}
.pairs>*{min-width:0}
.listing{columns:22rem;font-size:.88rem}.listing div{break-inside:avoid;overflow-wrap:anywhere}
.listing span{font-family:ui-monospace,monospace;color:var(--soft)}
.options td:first-child,.options th{font-family:ui-monospace,monospace;font-size:.85rem}
code{overflow-wrap:anywhere}
#tip{position:fixed;pointer-events:none;display:none;background:var(--fg);color:var(--bg);padding:.2rem .5rem;border-radius:4px;
font-size:.8rem;white-space:pre-line;max-width:20rem;overflow-wrap:anywhere;z-index:2}
#tip i{display:block;image-rendering:pixelated;margin:.2rem auto}
@media (max-width:500px){main{padding:.6rem .7rem 2rem}}
@media print{:root{--bg:#fff;--fg:#000;--soft:#555;--edge:#ccc;--card:#fff}body{font-size:11px}#tip{display:none!important}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.card,figure,tr{break-inside:avoid}h2,h3{break-after:avoid}
.wide,.strip{overflow:visible}.strip{flex-wrap:wrap}.grid{grid-template-columns:repeat(2,1fr)}}
"""

SCRIPT = """
const tip=document.getElementById('tip');
function show(e,text,thumb){tip.textContent=text;if(thumb)tip.append(thumb);tip.style.display='block';
const w=tip.offsetWidth,h=tip.offsetHeight;
tip.style.left=Math.max(4,Math.min(e.clientX+12,innerWidth-w-8))+'px';
tip.style.top=(e.clientY+14+h>innerHeight?e.clientY-h-10:e.clientY+14)+'px'}
function thumb(map,i){const s=map.dataset.sheet&&document.getElementById(map.dataset.sheet);if(!s)return null;
const d=+s.dataset.side,n=+s.dataset.across,k=3,t=document.createElement('i');
t.style.cssText='width:'+d*k+'px;height:'+d*k+'px;background:url('+s.src+') '+-(i%n)*d*k+'px '+-Math.floor(i/n)*d*k+'px / '
+s.naturalWidth*k+'px auto';return t}
function near(svg,e){const box=svg.getBoundingClientRect(),at=(e.clientX-box.left)/box.width*400;let lines=[],step='';
for(const p of svg.querySelectorAll('polyline')){const xs=p.dataset.x.split(' '),ys=p.dataset.y.split(' '),
px=p.getAttribute('points').split(' ').map(q=>+q.split(',')[0]);let best=0;
px.forEach((x,i)=>{if(Math.abs(x-at)<Math.abs(px[best]-at))best=i});step=svg.dataset.across+' '+xs[best];
lines.push(p.dataset.name+': '+ys[best])}return lines.length?step+'\\n'+lines.join('\\n'):''}
document.addEventListener('pointermove',e=>{const t=e.target,svg=t.closest&&t.closest('svg');
if(t.dataset&&t.dataset.t!==undefined)return show(e,t.dataset.t,thumb(svg.parentNode,+t.dataset.i));
const text=svg&&svg.classList.contains('lines')?near(svg,e):'';if(text)show(e,text);else tip.style.display='none'});
"""
