"use strict";
/* Crossover by hand: a mask over the code, painted on its feature maps; 0, 1, 2 name the parents. */
const Maps = (() => {
  const $ = (id) => document.getElementById(id);
  let shape, mask, given, changed, cursor = 0;

  /* Maps of height x width cells; a code without places is one map of its numbers. */
  function grid() {
    const square = Math.ceil(Math.sqrt(mask.length));
    const [count, height, width] = shape.length === 3 ? shape : [1, Math.ceil(mask.length / square), square];
    const room = Math.max(240, Math.min(520, $("mixing").clientWidth - 36)), gap = count > 64 ? 4 : 10;
    let cell = 30, columns = 1;
    for (; cell > 2; cell--) {
      columns = Math.max(1, Math.floor((room + gap) / (width * cell + gap)));
      if (width * cell <= room && Math.ceil(count / columns) * (height * cell + gap) <= 360) break;
    }
    columns = Math.min(columns, count);
    return { count, height, width, cell, gap, columns, each: height * width,
      stepX: width * cell + gap, stepY: height * cell + gap };
  }

  /* Cells in their parent's colour, stronger where the parent's number is larger. */
  function draw() {
    const { codes, colours } = given(), g = grid(), canvas = $("maps"), brush = canvas.getContext("2d"), { cell } = g;
    canvas.width = g.columns * g.stepX - g.gap + 4;
    canvas.height = Math.ceil(g.count / g.columns) * g.stepY - g.gap + 4;
    const strongest = codes.map((h) => h.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-6));
    mask.forEach((k, i) => {
      const m = Math.floor(i / g.each), r = Math.floor((i % g.each) / g.width), c = i % g.width;
      const x = 2 + (m % g.columns) * g.stepX + c * cell, y = 2 + Math.floor(m / g.columns) * g.stepY + r * cell;
      brush.globalAlpha = 0.25 + 0.75 * Math.abs(codes[k][i]) / strongest[k];
      brush.fillStyle = colours[k];
      brush.fillRect(x, y, cell - (cell > 5), cell - (cell > 5));
      brush.globalAlpha = 1;
      if (i !== cursor || document.activeElement !== canvas) return;
      brush.strokeStyle = getComputedStyle(canvas).color;
      brush.lineWidth = 2;
      brush.strokeRect(x, y, cell - 1, cell - 1);
    });
  }

  function unitAt(event) {
    const g = grid(), canvas = $("maps"), box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
    const x = (event.clientX - box.left) * ratio - 2, y = (event.clientY - box.top) * ratio - 2;
    const column = Math.floor(x / g.stepX), line = Math.floor(y / g.stepY), m = line * g.columns + column;
    const c = Math.floor((x - column * g.stepX) / g.cell), r = Math.floor((y - line * g.stepY) / g.cell);
    const outside = x < 0 || y < 0 || c >= g.width || r >= g.height || column >= g.columns || m >= g.count;
    const i = m * g.each + r * g.width + c;
    return outside || i >= mask.length ? null : i;
  }

  function paint(i) {
    const k = "ABC".indexOf(document.querySelector("input[name=brush]:checked").value), { count, each } = grid();
    const first = Math.floor(i / each) * each;
    if ($("entire").checked && count > 1) mask.fill(k, first, first + each);
    else mask[i] = k;
    set();
  }

  function set() { draw(); changed(); }

  function press(event) {
    const { width, each } = grid();
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width, PageUp: -each, PageDown: each }[event.key];
    if (step) cursor = Math.min(mask.length - 1, Math.max(0, cursor + step));
    else if (event.key === " " || event.key === "Enter") paint(cursor);
    else return;
    event.preventDefault();
    draw();
    const row = Math.floor((cursor % each) / width) + 1, place = `row ${row}, column ${(cursor % width) + 1}`;
    $("says").textContent = `Map ${Math.floor(cursor / each) + 1}, ${place}: from ${"ABC"[mask[cursor]]}`;
  }

  /* Masks by whole feature maps, as Bernoulli mixup draws them, or by single numbers. */
  function random() {
    const { count, each } = grid(), block = $("entire").checked && count > 1 ? each : 1;
    for (let i = 0; i < mask.length; i += block) mask.fill(Math.random() < 0.5 ? 1 : 0, i, i + block);
    set();
  }

  /* codeShape: of one code; now(): {codes, colours} of the three parents; onChange(): the mask is another. */
  function start(codeShape, now, onChange) {
    [shape, given, changed] = [codeShape, now, onChange];
    mask = new Uint8Array(shape.reduce((a, b) => a * b, 1));
    mask.fill(1, mask.length / 2);
    $("entire").checked = shape.length === 3 && shape[0] >= 8;
    $("entire").disabled = shape.length !== 3;
    Drawing.drag($("maps"), (event) => {
      const i = unitAt(event);
      if (i !== null) { cursor = i; paint(i); }
    });
    $("maps").addEventListener("keydown", press);
    for (const kind of ["focus", "blur"]) $("maps").addEventListener(kind, draw);
    $("all-a").addEventListener("click", () => { mask.fill(0); set(); });
    $("random").addEventListener("click", random);
    $("swap").addEventListener("click", () => { mask.forEach((k, i) => { mask[i] = [1, 0, 2][k]; }); set(); });
  }

  return { start, draw, mask: () => mask };
})();
