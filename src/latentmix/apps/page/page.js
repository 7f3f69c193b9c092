"use strict";
/* The page itself: parents, ways to mix, what the mix is worth, downloads. */
const Page = (() => {
  const $ = (id) => document.getElementById(id), SLOTS = ["A", "B", "C"], TILES = 9, WALK = 4000; // milliseconds
  const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)} %`;
  let model, engine, slots = {}, active = "A", mode = "pair", weights = [1 / 3, 1 / 3, 1 / 3];
  let frame = 0, tiles, shown = null, turn = 0, sayLater;

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
    const error = Mixing.distance(parent.pixels, clipped), found = look(parent.pixels), near = found.distance;
    const contrast = Mixing.contrast(parent.pixels, model.shape[0]);
    const votes = contrast < model.known.blank ? null : found.votes; // a blank picture shows no class
    slots[slot] = { ...parent, code, copy, error, near, votes, turn: mine, unlike: unlike(error, near, contrast) };
    showParent(slot);
    await refresh();
  }

  /* The nearest training images, and the votes for each class where classes can be read. */
  function look(pixels) {
    const { reader } = model, near = Mixing.nearest(pixels, model.thumbnails, reader ? reader.k : 1);
    return { ...near, votes: reader && reader.votes(pixels, near.indices) };
  }
  const readAs = (votes) => (votes ? model.reader.names[Mixing.winner(votes)] : undefined);

  function unlike(error, near, contrast) {
    const { error: usual, nearest: away, contrast: least, blank } = model.known;
    if (contrast < blank) return `it is blank or nearly so: its pixels deviate from their mean by ${percent(contrast, 1)}; 99 in 100 test images by more than ${percent(least, 1)}`;
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
    if (p.votes) state.append(` Reads as ${readAs(p.votes)}.`);
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
    const shares = [0, 0, 0], mask = Maps.mask();
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
    const honesty = Mixing.exposures(pixels, copies, mix.shares), near = look(pixels);
    const used = SLOTS.filter((_, k) => mix.shares[k] > 0);
    const doubt = near.votes ? Mixing.doubt(near.votes, used.map((s) => slots[s].votes).filter(Boolean), model.reader) : "";
    shown = { pixels, mix, honesty, near, doubt };
    paint($("mix"), pixels);
    const blend = new Float32Array(pixels.length);
    SLOTS.forEach((s, k) => slots[s].pixels.forEach((v, i) => { blend[i] += mix.shares[k] * v; }));
    paint($("blend"), blend);
    const n = model.pictureSize;
    paint($("near"), asPixels(model.thumbnails.subarray(near.index * n, (near.index + 1) * n)));
    meter("ghosting", honesty.ghosting);
    meter("collapse", honesty.collapse);
    meter("nearest", near.distance, 2 * model.known.nearest[1], 1);
    const said = word(honesty, near, doubt), parts = mix.shares.map((w, i) => `${percent(w)} ${SLOTS[i]}`).filter((_, i) => mix.shares[i] > 0);
    $("mix").setAttribute("aria-label", `The mix: ${parts.join(", ")}. ${said}`);
    $("position").setAttribute("aria-valuetext", `${percent(position())} of the way from A to B`);
    clearTimeout(sayLater);
    sayLater = setTimeout(() => { if ($("word").textContent !== said) $("word").textContent = said; }, 150);
    mark();
  }

  function meter(name, value, full = 1, digits = 0) {
    $(`value-${name}`).textContent = value === null ? "–" : percent(value, digits);
    $(`bar-${name}`).firstElementChild.style.width = `${Math.min(100, 100 * (value || 0) / full)}%`;
  }

  function word({ ghosting, collapse }, near, doubt) {
    if (doubt) return `In doubt: ${ghosting === null ? "this reconstruction" : "this mix"} ${doubt.startsWith("hard") ? "is " : ""}${doubt}.`;
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
      await each(tiles.length, async (i) => paint(tiles[i].canvas, await engine.decode(Mixing.weighted(codes(), tiles[i].weights))));
      if (mine === drawn) mark();
    }
    if (mode === "maps") Maps.draw();
  }

  function mark() {
    const near = Math.round(position() * (TILES - 1));
    [...$("walk").children].forEach((tile, i) => tile.setAttribute("aria-current", i === near));
    if (mode === "triangle") {
      SLOTS.forEach((s, i) => { $(`weight-${s}`).value = Math.round(100 * weights[i]); $(`share-${s}`).textContent = percent(weights[i]); });
      Triangle.draw($("triangle"), tiles, weights, colours());
    }
  }

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return ["--a", "--b", "--c"].map((name) => style.getPropertyValue(name).trim());
  };

  /* Walks from A to B and back, until it is stopped or the slider is moved by hand. */
  function play(on) {
    $("play").textContent = on ? "Stop" : "Play";
    $("play").setAttribute("aria-pressed", on);
    cancelAnimationFrame(frame);
    if (!on) return;
    const begun = performance.now() - WALK * position();
    const step = (now) => {
      const t = ((now - begun) / WALK) % 2;
      $("position").value = 100 * (t < 1 ? t : 2 - t);
      update();
      frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
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
      return { slot, ...from, done: p.done, error: p.error, nearest: p.near, unlike: p.unlike, reads_as: readAs(p.votes),
        pixels: btoa(String.fromCharCode(...raw)), pixels_sha256: await sha256(raw) };
    }));
    const { ghosting, collapse } = shown.honesty;
    return { latentmix: model.version, model: model.model, shape: model.shape, parents, mix: { ...shown.mix.how, reads_as: readAs(shown.near.votes), doubt: shown.doubt },
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
    play(false);
    mode = name;
    for (const each of ["pair", "triangle", "maps"]) {
      $(`tab-${each}`).setAttribute("aria-selected", each === name);
      $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
      $(`panel-${each}`).hidden = each !== name;
    }
    document.querySelector("[data-slot=C]").classList.toggle("idle", name === "pair");
    refresh();
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
    Drawing.start(attempt((canvas) => put(active, own(canvas, { kind: "drawing", title: "your drawing" }))), fail);
    $("position").addEventListener("input", () => { play(false); update(); });
    $("play").addEventListener("click", () => play($("play").getAttribute("aria-pressed") === "false"));
    $("way").addEventListener("change", refresh);
    const tabs = ["pair", "triangle", "maps"];
    tabs.forEach((name, i) => {
      $(`tab-${name}`).addEventListener("click", () => select(name));
      $(`tab-${name}`).addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (step) { const next = tabs[(i + step + 3) % 3]; select(next); $(`tab-${next}`).focus(); }
      });
    });
    Drawing.drag($("triangle"), (event) => {
      const box = $("triangle").getBoundingClientRect(), ratio = $("triangle").width / box.width;
      weights = Triangle.weigh((event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
      update();
    });
    $("save").addEventListener("click", attempt(async () => download(await png(), "mix.png")));
    $("receipt").addEventListener("click", attempt(async () =>
      download(new Blob([JSON.stringify(await receipt(), null, 2), "\n"], { type: "application/json" }), "mix.png.json")));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => refresh());
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
      button.addEventListener("click", () => { play(false); $("position").value = 100 * i / (TILES - 1); update(); });
      $("walk").append(button);
    }
    $("hint-nearest").textContent = `To the nearest training image. Half of the test images are farther than ${percent(model.known.nearest[0], 1)} from theirs.`;
    if (model.codeShape[0] < 2) document.querySelector("#way option[value=crossover]").remove();
  }

  async function start(description, given) {
    model = description;
    engine = given;
    tiles = Triangle.points();
    Maps.start(model.codeShape, () => ({ codes: codes(), colours: colours() }), update);
    furnish();
    listen();
    choose("A");
    select("pair");
    for (const [i, slot] of SLOTS.entries()) await put(slot, fromGallery(Math.min(i, model.gallery.rows.length - 1)));
    const first = slots.A.copy, worst = model.check.reduce((most, v, i) => Math.max(most, Math.abs(v - first[i])), 0);
    if (!(worst < 2 / 255)) fail("This browser computes other pictures than the model does; do not trust them.");
    document.documentElement.dataset.ready = "yes";
  }

  return { start, put, own, putFile, fail, receipt, state: () => ({ slots, shown, model, engine }) };
})();
