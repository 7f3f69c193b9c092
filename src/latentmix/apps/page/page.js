"use strict";
/* The page itself: parents, ways to mix, what the mix is worth, downloads. */
const Page = (() => {
  const $ = (id) => document.getElementById(id), SLOTS = ["A", "B", "C"], TILES = 9, SIDE = 5;
  const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)} %`;
  let model, engine, slots = {}, active = "A", mode = "pair", weights = [1 / 3, 1 / 3, 1 / 3];
  let mask, cursor = 0, shown = null, turn = 0, sayLater;

  const pause = () => new Promise((done) => setTimeout(done));
  const fail = (text) => { $("trouble").textContent = text; $("trouble").hidden = !text; };

  function paint(canvas, pixels) {
    const [channels, height, width] = model.shape, n = height * width;
    canvas.width = width; canvas.height = height;
    const brush = canvas.getContext("2d"), image = brush.createImageData(width, height);
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes(pixels[(channels === 3 ? c : 0) * n + i]);
      image.data[4 * i + 3] = 255;
    }
    brush.putImageData(image, 0, 0);
  }
  const bytes = (v) => Math.min(255, Math.max(0, Math.round((v + 1) * 127.5)));
  const asBytes = (pixels) => Uint8Array.from(pixels, bytes);
  const asPixels = (byteArray) => Float32Array.from(byteArray, (v) => v / 127.5 - 1);

  // Parents

  async function put(slot, parent) {
    fail("");
    const mine = ++turn;
    const code = await engine.encode(parent.pixels), copy = await engine.decode(code);
    if (mine < turn && slots[slot] && slots[slot].turn > mine) return;
    const clipped = copy.map((v) => Math.min(1, Math.max(-1, v)));
    const error = Mixing.distance(parent.pixels, clipped), near = Mixing.nearest(parent.pixels, model.thumbnails).distance;
    slots[slot] = { ...parent, code, copy, error, near, turn: mine, unlike: unlike(error, near) };
    showParent(slot);
    await refresh();
  }

  function unlike(error, near) {
    const { error: usual, nearest: away } = model.known;
    if (error > usual[1]) return `its reconstruction is off by ${percent(error, 1)}; 99 in 100 test images stay below ${percent(usual[1], 1)}`;
    if (near > away[1]) return `it is ${percent(near, 1)} away from the nearest training image; 99 in 100 test images stay below ${percent(away[1], 1)}`;
    return "";
  }

  function showParent(slot) {
    const p = slots[slot], state = $(`state-${slot}`);
    paint($(`real-${slot}`), p.pixels);
    paint($(`copy-${slot}`), p.copy);
    $(`title-${slot}`).textContent = p.title;
    $(`real-${slot}`).setAttribute("aria-label", `Parent ${slot}: ${p.title}`);
    state.replaceChildren();
    if (p.done.length) state.append(`Your picture was ${p.done.join(", ")} to look like the training images. `);
    if (p.unlike) {
      const strong = document.createElement("strong");
      strong.textContent = "Unlike what this model knows: ";
      state.append(strong, `${p.unlike}.`);
    } else state.append(`Reconstruction off by ${percent(p.error, 1)} of the pixel range (test images: ${percent(model.known.error[0], 1)}).`);
    $(`undo-${slot}`).hidden = !p.canvas || (!p.done.length && !p.plain);
    $(`undo-${slot}`).textContent = p.plain ? "Adapt it to the model" : "Use it unchanged";
  }

  function own(canvas, extra, plain = false) {
    const { pixels, done } = Pictures.prepare(canvas, model.shape, plain ? null : model.drawings);
    return { pixels: asPixels(asBytes(pixels)), done, canvas, plain, extra, ...extra };
  }

  async function putFile(slot, file) {
    const content = new Uint8Array(await file.arrayBuffer()), canvas = await Pictures.read(file);
    await put(slot, own(canvas, { kind: "file", title: file.name, file: file.name, sha256: await sha256(content) }));
  }

  function fromGallery(index) {
    const n = model.pictureSize, raw = model.gallery.pictures.subarray(index * n, (index + 1) * n);
    const { rows, names } = model.gallery;
    return { pixels: asPixels(raw), done: [], kind: "test image", row: rows[index], title: names[index] || `test image ${rows[index]}` };
  }

  // Mixing

  const codes = () => SLOTS.map((slot) => slots[slot].code);
  const along = (t) => Mixing[$("way").value](slots.A.code, slots.B.code, t, model.codeShape[0]);

  const position = () => $("position").value / 100;
  function mixture() {
    if (mode === "pair") {
      const t = position(), way = $("way").value;
      return { code: along(t), shares: [1 - t, t, 0], how: { way, position: t } };
    }
    if (mode === "triangle") {
      return { code: Mixing.weighted(codes(), weights), shares: weights, how: { way: "lerp", weights: [...weights] } };
    }
    const shares = [0, 0, 0];
    mask.forEach((k) => { shares[k] += 1 / mask.length; });
    const mixed = Float32Array.from(mask, (k, i) => slots[SLOTS[k]].code[i]);
    return { code: mixed, shares, how: { way: "mask", mask: Array.from(mask, (k) => SLOTS[k]).join("") } };
  }
  let busy = false, again = false;
  async function update() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      do {
        again = false;
        await show(mixture());
        if (again) await pause();
      } while (again);
    } catch (error) { fail(error.message); } finally { busy = false; }
  }

  async function show(mix) {
    const pixels = await engine.decode(mix.code), copies = SLOTS.map((s) => slots[s].copy);
    const honesty = Mixing.exposures(pixels, copies, mix.shares), near = Mixing.nearest(pixels, model.thumbnails);
    shown = { pixels, mix, honesty, near };
    paint($("mix"), pixels);
    const blend = new Float32Array(pixels.length);
    SLOTS.forEach((s, k) => slots[s].pixels.forEach((v, i) => { blend[i] += mix.shares[k] * v; }));
    paint($("blend"), blend);
    const n = model.pictureSize;
    paint($("near"), asPixels(model.thumbnails.subarray(near.index * n, (near.index + 1) * n)));
    meter("ghosting", honesty.ghosting);
    meter("collapse", honesty.collapse);
    meter("nearest", near.distance, 2 * model.known.nearest[1], 1);
    const said = word(honesty, near), parts = mix.shares.map((w, i) => `${percent(w)} ${SLOTS[i]}`).filter((_, i) => mix.shares[i] > 0);
    $("mix").setAttribute("aria-label", `The mix: ${parts.join(", ")}. ${said}`);
    $("position").setAttribute("aria-valuetext", `${percent(position())} of the way from A to B`);
    clearTimeout(sayLater);
    sayLater = setTimeout(() => { if ($("word").textContent !== said) $("word").textContent = said; }, shown.spoken ? 0 : 150);
    mark();
  }

  function meter(name, value, full = 1, digits = 0) {
    $(`value-${name}`).textContent = value === null ? "–" : percent(value, digits);
    $(`bar-${name}`).firstElementChild.style.width = `${Math.min(100, 100 * (value || 0) / full)}%`;
  }

  function word({ ghosting, collapse }, near) {
    if (ghosting === null) return "A parent’s reconstruction, unmixed.";
    const strange = SLOTS.filter((s, i) => shown.mix.shares[i] > 0 && slots[s].unlike);
    if (strange.length) return `Parent ${strange.join(" and ")} is unlike what this model knows; the mix may be too.`;
    if (collapse > 0.5 && collapse >= ghosting) return "Close to one of its parents.";
    if (ghosting > 0.5) return "Mostly a double exposure of its parents.";
    if (near.distance > model.known.nearest[1]) return "Farther from the training images than test images are.";
    return ghosting > 0.25 ? "A picture of its own, with some of a double exposure." : "A picture of its own, as near to the training images as test images are.";
  }

  // The three ways to mix

  let drawn = 0;
  async function refresh() {
    if (!SLOTS.every((s) => slots[s])) return;
    await update();
    const mine = ++drawn;
    let since = performance.now();
    const each = async (count, f) => {
      for (let i = 0; i < count && mine === drawn; i++) {
        await f(i);
        if (performance.now() - since > 12) { await pause(); since = performance.now(); }
      }
    };
    if (mode === "pair") {
      const tiles = $("walk").children;
      await each(TILES, async (i) => paint(tiles[i].firstElementChild, await engine.decode(along(i / (TILES - 1)))));
    }
    if (mode === "triangle") {
      const points = corners();
      await each(points.length, async (i) => { points[i].canvas = points[i].canvas || document.createElement("canvas");
        paint(points[i].canvas, await engine.decode(Mixing.weighted(codes(), points[i].weights))); });
      if (mine === drawn) { tiles = points; drawTriangle(); }
    }
    if (mode === "maps") drawMaps();
  }

  function mark() {
    const near = Math.round(position() * (TILES - 1));
    [...$("walk").children].forEach((tile, i) => tile.setAttribute("aria-current", i === near));
    if (mode === "triangle") {
      SLOTS.forEach((s, i) => { $(`weight-${s}`).value = Math.round(100 * weights[i]); $(`share-${s}`).textContent = percent(weights[i]); });
      drawTriangle();
    }
  }

  let tiles = [];
  function corners() {
    const points = [];
    for (let line = 0; line < SIDE; line++)
      for (let c = 0; c <= line; c++) {
        const total = SIDE - 1, w = [(total - line) / total, (line - c) / total, c / total];
        points.push({ weights: w, ...place(w) });
      }
    return points;
  }
  const TOP = { x: 210, y: 44 }, LEFT = { x: 44, y: 346 }, RIGHT = { x: 376, y: 346 };
  const place = ([a, b, c]) => ({ x: a * TOP.x + b * LEFT.x + c * RIGHT.x, y: a * TOP.y + b * LEFT.y + c * RIGHT.y });
  function weigh(x, y) {
    const a = (LEFT.y - y) / (LEFT.y - TOP.y), c = (x - a * TOP.x - (1 - a) * LEFT.x) / (RIGHT.x - LEFT.x);
    const w = [a, 1 - a - c, c].map((v) => Math.max(0, v)), sum = w[0] + w[1] + w[2];
    return w.map((v) => v / sum);
  }
  function drawTriangle() {
    const canvas = $("triangle"), brush = canvas.getContext("2d"), half = 34;
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.imageSmoothingEnabled = false;
    tiles.forEach((p) => brush.drawImage(p.canvas, p.x - half, p.y - half, 2 * half, 2 * half));
    [TOP, LEFT, RIGHT].forEach((p, i) => {
      brush.strokeStyle = colour(i); brush.lineWidth = 4;
      brush.strokeRect(p.x - half - 2, p.y - half - 2, 2 * half + 4, 2 * half + 4);
    });
    const at = place(weights);
    for (const [width, style] of [[7, "#000"], [3, "#fff"]]) {
      brush.lineWidth = width; brush.strokeStyle = style;
      brush.beginPath(); brush.arc(at.x, at.y, 13, 0, 2 * Math.PI); brush.stroke();
    }
  }
  const colour = (i) => getComputedStyle(document.documentElement).getPropertyValue(`--${"abc"[i]}`).trim();

  function grid() {
    const [maps, ...rest] = model.codeShape;
    const [count, height, width] = rest.length === 2 ? [maps, ...rest]
      : [1, Math.ceil(mask.length / Math.ceil(Math.sqrt(mask.length))), Math.ceil(Math.sqrt(mask.length))];
    const room = Math.max(240, Math.min(520, $("mixing").clientWidth - 36)), gap = count > 64 ? 4 : 10;
    let cell = 30, columns;
    for (; cell > 2; cell--) {
      columns = Math.max(1, Math.floor((room + gap) / (width * cell + gap)));
      if (width * cell <= room && Math.ceil(count / columns) * (height * cell + gap) <= 360) break;
    }
    columns = Math.min(columns, count);
    return { count, height, width, cell, gap, columns };
  }
  function drawMaps() {
    const g = grid(), canvas = $("maps"), brush = canvas.getContext("2d"), { cell } = g;
    const stepX = g.width * cell + g.gap, stepY = g.height * cell + g.gap;
    canvas.width = g.columns * stepX - g.gap + 4; canvas.height = Math.ceil(g.count / g.columns) * stepY - g.gap + 4;
    const strongest = SLOTS.map((s) => slots[s].code.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-6)), colours = SLOTS.map((_, i) => colour(i));
    const each = g.height * g.width, focused = document.activeElement === canvas;
    mask.forEach((k, i) => {
      const m = Math.floor(i / each), r = Math.floor((i % each) / g.width), c = i % g.width;
      const x = 2 + (m % g.columns) * stepX + c * cell, y = 2 + Math.floor(m / g.columns) * stepY + r * cell;
      brush.globalAlpha = 0.25 + 0.75 * Math.abs(slots[SLOTS[k]].code[i]) / strongest[k];
      brush.fillStyle = colours[k];
      brush.fillRect(x, y, cell - (cell > 5), cell - (cell > 5));
      brush.globalAlpha = 1;
      if (focused && i === cursor) { brush.strokeStyle = getComputedStyle(canvas).color; brush.lineWidth = 2; brush.strokeRect(x, y, cell - 1, cell - 1); }
    });
  }
  function unitAt(event) {
    const g = grid(), canvas = $("maps"), box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
    const x = (event.clientX - box.left) * ratio - 2, y = (event.clientY - box.top) * ratio - 2;
    const stepX = g.width * g.cell + g.gap, stepY = g.height * g.cell + g.gap;
    const column = Math.floor(x / stepX), line = Math.floor(y / stepY);
    const c = Math.floor((x - column * stepX) / g.cell), r = Math.floor((y - line * stepY) / g.cell);
    const m = line * g.columns + column, i = (m * g.height + r) * g.width + c;
    return x < 0 || y < 0 || c >= g.width || r >= g.height || column >= g.columns || m >= g.count || i >= mask.length ? null : i;
  }
  function paintUnit(i) {
    const k = SLOTS.indexOf(document.querySelector("input[name=brush]:checked").value), g = grid(), each = g.height * g.width;
    if ($("entire").checked && g.count > 1) mask.fill(k, Math.floor(i / each) * each, (Math.floor(i / each) + 1) * each);
    else mask[i] = k;
    drawMaps();
    update();
  }
  function moveCursor(event) {
    const g = grid(), each = g.height * g.width;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -g.width, ArrowDown: g.width, PageUp: -each, PageDown: each }[event.key];
    if (step) cursor = Math.min(mask.length - 1, Math.max(0, cursor + step));
    else if (event.key === " " || event.key === "Enter") paintUnit(cursor);
    else return;
    event.preventDefault();
    drawMaps();
    const m = Math.floor(cursor / each), r = Math.floor((cursor % each) / g.width), c = cursor % g.width;
    $("says").textContent = `Map ${m + 1}, row ${r + 1}, column ${c + 1}: from ${SLOTS[mask[cursor]]}`;
  }

  // Downloads

  async function sha256(content) {
    if (!globalThis.crypto || !crypto.subtle) return null;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
  }
  const png = () => new Promise((done) => $("mix").toBlob(done, "image/png"));
  async function receipt() {
    const blob = await png(), used = SLOTS.filter((_, i) => shown.mix.shares[i] > 0);
    const parents = await Promise.all(used.map(async (slot) => {
      const p = slots[slot], raw = asBytes(p.pixels);
      const from = p.kind === "test image" ? { kind: p.kind, row: p.row } : { kind: p.kind, file: p.file, sha256: p.sha256 };
      return { slot, ...from, done: p.done, error: p.error, nearest: p.near, unlike: p.unlike,
        pixels: btoa(String.fromCharCode(...raw)), pixels_sha256: await sha256(raw) };
    }));
    const { ghosting, collapse } = shown.honesty;
    return { latentmix: model.version, model: model.model, shape: model.shape, parents, mix: shown.mix.how,
      honesty: { ghosting, collapse, nearest: shown.near.distance, training_images: model.training },
      output: { file: "mix.png", sha256: await sha256(new Uint8Array(await blob.arrayBuffer())) } };
  }
  function download(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // Everything that listens

  function choose(slot) {
    active = slot;
    $(`slot-${slot}`).checked = true;
    $("active").textContent = slot;
    $("active").className = `chip ${slot.toLowerCase()}`;
  }
  const attempt = (f) => async (...args) => { try { await f(...args); } catch (error) { fail(error.message); } };

  function select(name) {
    mode = name;
    for (const each of ["pair", "triangle", "maps"]) {
      $(`tab-${each}`).setAttribute("aria-selected", each === name);
      $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
      $(`panel-${each}`).hidden = each !== name;
    }
    document.querySelector("[data-slot=C]").classList.toggle("idle", name === "pair");
    refresh();
  }

  function drag(canvas, f) {
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); f(event, true); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) f(event, false); });
  }

  function listen() {
    SLOTS.forEach((slot, k) => {
      $(`slot-${slot}`).addEventListener("change", () => choose(slot));
      $(`undo-${slot}`).addEventListener("click", attempt(async () => {
        const p = slots[slot];
        await put(slot, own(p.canvas, p.extra, !p.plain));
      }));
      $(`weight-${slot}`).addEventListener("input", (event) => {
        const value = event.target.value / 100, rest = weights.reduce((sum, w, i) => sum + (i === k ? 0 : w), 0);
        weights = weights.map((w, i) => (i === k ? value : rest > 1e-9 ? w / rest * (1 - value) : (1 - value) / 2));
        update();
      });
    });
    $("file").addEventListener("change", attempt(async (event) => {
      const file = event.target.files[0];
      event.target.value = "";
      if (file) await putFile(active, file);
    }));
    const parents = $("parents");
    parents.addEventListener("dragover", (event) => event.preventDefault());
    parents.addEventListener("drop", attempt(async (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) await putFile(active, event.dataTransfer.files[0]);
    }));
    drawing();
    $("position").addEventListener("input", update);
    $("way").addEventListener("change", refresh);
    const tabs = ["pair", "triangle", "maps"];
    tabs.forEach((name, i) => {
      $(`tab-${name}`).addEventListener("click", () => select(name));
      $(`tab-${name}`).addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (step) { const next = tabs[(i + step + 3) % 3]; select(next); $(`tab-${next}`).focus(); }
      });
    });
    drag($("triangle"), (event) => {
      const box = $("triangle").getBoundingClientRect(), ratio = $("triangle").width / box.width;
      weights = weigh((event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
      update();
    });
    drag($("maps"), (event) => { const i = unitAt(event); if (i !== null) { cursor = i; paintUnit(i); } });
    $("maps").addEventListener("keydown", moveCursor);
    for (const kind of ["focus", "blur"]) $("maps").addEventListener(kind, () => drawMaps());
    $("all-a").addEventListener("click", () => { mask.fill(0); drawMaps(); update(); });
    $("random").addEventListener("click", () => {
      const [maps] = model.codeShape, entire = $("entire").checked && maps > 1, each = entire ? mask.length / maps : 1;
      for (let i = 0; i < mask.length; i += each) mask.fill(Math.random() < 0.5 ? 1 : 0, i, i + each);
      drawMaps(); update();
    });
    $("swap").addEventListener("click", () => { mask.forEach((k, i) => { mask[i] = [1, 0, 2][k]; }); drawMaps(); update(); });
    $("save").addEventListener("click", attempt(async () => download(await png(), "mix.png")));
    $("receipt").addEventListener("click", attempt(async () =>
      download(new Blob([JSON.stringify(await receipt(), null, 2), "\n"], { type: "application/json" }), "mix.png.json")));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => refresh());
  }

  function drawing() {
    const paper = $("paper"), brush = paper.getContext("2d", { willReadFrequently: true });
    let last = null, empty = true;
    const clear = () => { brush.fillStyle = "#fff"; brush.fillRect(0, 0, 280, 280); empty = true; };
    clear();
    drag(paper, (event, first) => {
      const box = paper.getBoundingClientRect(), ratio = 280 / box.width;
      const at = { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
      if (first) last = at;
      brush.lineCap = brush.lineJoin = "round"; brush.lineWidth = $("pen").value; brush.strokeStyle = "#000";
      brush.beginPath(); brush.moveTo(last.x, last.y); brush.lineTo(at.x + 0.01, at.y); brush.stroke();
      last = at; empty = false;
    });
    $("clear").addEventListener("click", clear);
    $("draw").addEventListener("click", () => {
      $("drawing").hidden = !$("drawing").hidden;
      $("draw").setAttribute("aria-expanded", !$("drawing").hidden);
    });
    $("use").addEventListener("click", attempt(async () => {
      if (empty) throw new Error("The paper is empty: draw on it with the mouse, a pen or a finger first.");
      const copy = document.createElement("canvas");
      copy.width = copy.height = 280;
      copy.getContext("2d").drawImage(paper, 0, 0);
      await put(active, own(copy, { kind: "drawing", title: "your drawing" }));
    }));
  }

  function furnish() {
    model.gallery.rows.forEach((_, i) => {
      const button = document.createElement("button"), canvas = document.createElement("canvas"), parent = fromGallery(i);
      button.type = "button";
      button.setAttribute("aria-label", `Test image: ${parent.title}`);
      button.title = parent.title;
      paint(canvas, parent.pixels);
      button.append(canvas);
      button.addEventListener("click", attempt(async () => {
        const slot = active;
        await put(slot, fromGallery(i));
      }));
      $("gallery").append(button);
    });
    for (let i = 0; i < TILES; i++) {
      const button = document.createElement("button"), canvas = document.createElement("canvas");
      button.type = "button";
      button.tabIndex = -1; // the slider above does the same by keyboard
      button.setAttribute("aria-label", `Go to ${percent(i / (TILES - 1))}`);
      button.append(canvas);
      button.addEventListener("click", () => { $("position").value = 100 * i / (TILES - 1); update(); });
      $("walk").append(button);
    }
    $("hint-nearest").textContent = `To the nearest training image. Half of the test images are farther than ${percent(model.known.nearest[0], 1)} from theirs.`;
    if (model.codeShape[0] < 2) document.querySelector("#way option[value=crossover]").remove();
    $("entire").checked = model.codeShape.length === 3 && model.codeShape[0] >= 8;
    $("entire").disabled = model.codeShape.length !== 3;
  }

  async function start(description, given) {
    model = description;
    engine = given;
    mask = new Uint8Array(model.codeShape.reduce((a, b) => a * b, 1));
    mask.forEach((_, i) => { mask[i] = i < mask.length / 2 ? 0 : 1; });
    furnish();
    listen();
    choose("A");
    select("pair");
    for (const [i, slot] of SLOTS.entries()) await put(slot, fromGallery(Math.min(i, model.gallery.rows.length - 1)));
    const first = slots.A.copy, worst = model.check.reduce((most, v, i) => Math.max(most, Math.abs(v - first[i])), 0);
    if (!(worst < 2 / 255)) fail("This browser computes other pictures than the model does; do not trust them.");
    document.documentElement.dataset.ready = "yes";
  }

  return { start, put, own, putFile, fail, receipt, state: () => ({ slots, shown, model, engine, mode, weights, mask }) };
})();
