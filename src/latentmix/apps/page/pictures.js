"use strict";
/* People's own pictures: read, reduced, and brought to the colours, size and place of the data, as
   own_pictures.py does it; the same numbers, so that the page and the command line agree. */
const Pictures = (() => {
  const STEP = 38, SAME = 0.8, INK = 0.35, FAINT = 0.6, LARGE = 512, BLURS = 12;
  const MOST_PIXELS = 89478485, MOST_BYTES = 100e6, CANVAS = 4096;

  /* Pillow's bilinear filter, antialiased: planes of bytes, rounded after each direction. */
  function resize(planes, width, height, box, wide, tall) {
    const across = taps(width, box[0], box[2], wide), down = taps(height, box[1], box[3], tall);
    return planes.map((plane) => {
      const rows = new Uint8ClampedArray(wide * height), out = new Uint8ClampedArray(wide * tall);
      for (let y = 0; y < height; y++)
        across.forEach(({ first, weights }, x) => {
          let sum = 0;
          for (let i = 0; i < weights.length; i++) sum += weights[i] * plane[y * width + first + i];
          rows[y * wide + x] = Math.floor(sum + 0.5);
        });
      down.forEach(({ first, weights }, y) => {
        for (let x = 0; x < wide; x++) {
          let sum = 0;
          for (let i = 0; i < weights.length; i++) sum += weights[i] * rows[(first + i) * wide + x];
          out[y * wide + x] = Math.floor(sum + 0.5);
        }
      });
      return out;
    });
  }

  function taps(length, from, to, count) {
    const scale = (to - from) / count, reach = Math.max(1, scale);
    return Array.from({ length: count }, (_, i) => {
      const middle = from + (i + 0.5) * scale;
      const first = Math.max(0, Math.floor(middle - reach + 0.5));
      const end = Math.min(length, Math.floor(middle + reach + 0.5));
      const weights = [];
      for (let x = first; x < end; x++) weights.push(Math.max(0, 1 - Math.abs((x - middle + 0.5) / reach)));
      const sum = weights.reduce((a, b) => a + b, 0);
      return { first, weights: weights.map((w) => w / sum) };
    });
  }

  function fit(planes, width, height, size) {
    if (width === size && height === size) return planes;
    const side = Math.min(width, height), left = (width - side) / 2, top = (height - side) / 2;
    return resize(planes, width, height, [left, top, left + side, top + side], size, size);
  }

  /* Grey levels of background and ink, or null for no drawing. */
  function examine(x, width, height) {
    const edge = Math.max(1, Math.floor(Math.min(width, height) / 20)), border = [];
    for (let r = 0; r < height; r++)
      for (let c = 0; c < width; c++)
        if (r < edge || c < edge || r >= height - edge || c >= width - edge) border.push(x[r * width + c]);
    const background = percentile(border, 50);
    if (border.filter((v) => Math.abs(v - background) <= STEP).length / border.length < SAME) return null;
    let light = 0, dark = 0;
    for (const v of x) {
      if (v - background > STEP) light += v - background;
      if (background - v > STEP) dark += background - v;
    }
    const sign = light >= dark ? 1 : -1, strokes = [];
    for (const v of x) if (sign * (v - background) > STEP) strokes.push(sign * (v - background));
    return strokes.length ? { background, ink: background + sign * percentile(strokes, 90) } : null;
  }

  function box(x, width, height, { background, ink }) {
    let left = width, top = height, right = 0, bottom = 0;
    for (let r = 0; r < height; r++)
      for (let c = 0; c < width; c++)
        if ((x[r * width + c] - background) / (ink - background) > INK) {
          left = Math.min(left, c); right = Math.max(right, c + 1);
          top = Math.min(top, r); bottom = Math.max(bottom, r + 1);
        }
    return { left, top, right, bottom };
  }

  /* One grey plane to size x size, and what was done to it. */
  function suit(plane, width, height, size, usual) {
    if (!usual) return { planes: fit([plane], width, height, size), done: [] };
    const reduced = width !== size || height !== size;
    if (Math.max(width, height) > LARGE) {
      const ratio = LARGE / Math.max(width, height);
      const wide = Math.max(1, even(width * ratio)), tall = Math.max(1, even(height * ratio));
      [plane] = resize([plane], width, height, [0, 0, width, height], wide, tall);
      width = wide; height = tall;
    }
    let found = examine(plane, width, height);
    if (!found) return { planes: fit([plane], width, height, size), done: [] };
    let x = Float64Array.from(plane);
    const done = [], contrast = usual.ink - usual.background;
    const inverted = (found.ink - found.background) * contrast < 0;
    const faint = Math.abs(found.ink - found.background) < FAINT * Math.abs(contrast);
    if (inverted || faint || Math.abs(found.background - usual.background) > STEP) {
      const { background, ink } = found;
      x = x.map((v) => {
        const share = Math.min(1, Math.max(0, (v - background) / (ink - background)));
        return Math.min(255, Math.max(0, usual.background + share * contrast));
      });
      done.push(inverted ? "inverted" : "contrast stretched");
      found = { background: usual.background, ink: usual.ink };
    }
    const { left, top, right, bottom } = box(x, width, height, found);
    const middle = [(left + right) / 2, (top + bottom) / 2], longer = Math.max(right - left, bottom - top);
    const side = Math.min(width, height), share = longer / side;
    const offset = middle.map((m, i) => m - ((i ? height : width) - side) / 2);
    const astray = Math.max(...offset.map((o, i) => Math.abs(o / side - usual.centre[i]))) > usual.wander + 0.04;
    const cut = side < Math.max(width, height) && (longer > side || astray);
    if (cut || astray || share < usual.side[0] - 0.06 || share > usual.side[2] + 0.06) {
      const window = longer / usual.side[1], n = Math.max(1, even(window));
      const corner = middle.map((m, i) => even(m - usual.centre[i] * window));
      const square = new Float64Array(n * n).fill(found.background);
      for (let r = 0; r < n; r++)
        for (let c = 0; c < n; c++) {
          const y = corner[1] + r, xx = corner[0] + c;
          if (y >= 0 && y < height && xx >= 0 && xx < width) square[r * n + c] = x[y * width + xx];
        }
      x = square; width = height = n;
      done.push("cut out and centred");
    }
    const bytes = Uint8ClampedArray.from(x, even);
    let [small] = fit([bytes], width, height, size);
    const soft = softened(Float64Array.from(small), size, usual);
    if (soft) { small = soft; done.push("softened"); }
    const strong = reduced ? strengthened(Float64Array.from(small), size, usual) : null;
    if (strong) { small = strong; done.push("strengthened"); }
    return { planes: [small], done };
  }

  function sharpness(x, size, background) {
    let steps = 0, ink = 0;
    for (let r = 0, i = 0; r < size; r++)
      for (let c = 0; c < size; c++, i++) {
        if (r) steps += (x[i] - x[i - size]) ** 2;
        if (c) steps += (x[i] - x[i - 1]) ** 2;
        ink += (x[i] - background) ** 2;
      }
    return steps / Math.max(1, ink);
  }

  /* Gives a faint drawing the data's contrast; null if it has it. */
  function strengthened(x, size, usual) {
    const found = examine(x, size, size), contrast = usual.ink - usual.background;
    if (!found || Math.abs(found.ink - found.background) >= FAINT * Math.abs(contrast)) return null;
    const share = contrast / (found.ink - found.background);
    return Uint8ClampedArray.from(x, (v) => even(usual.background + (v - found.background) * share));
  }

  /* Blurs a drawing that is sharper than the data, as far as their median; null if it is not. */
  function softened(x, size, usual) {
    if (sharpness(x, size, usual.background) <= usual.sharpness[1] * 1.02) return null;
    const near = (i) => Math.min(size - 1, Math.max(0, i));
    for (let times = 0; times < BLURS; times++) {
      const down = x.map((v, i) => {
        const r = Math.floor(i / size), c = i % size;
        return (x[near(r - 1) * size + c] + 2 * v + x[near(r + 1) * size + c]) / 4;
      });
      x = down.map((v, i) => {
        const r = Math.floor(i / size) * size, c = i % size;
        return (down[r + near(c - 1)] + 2 * v + down[r + near(c + 1)]) / 4;
      });
      if (sharpness(x, size, usual.background) <= usual.sharpness[0]) break;
    }
    const found = examine(x, size, size);
    if (found) x = x.map((v) => usual.background + (v - found.background) / (found.ink - found.background) * (usual.ink - usual.background));
    return Uint8ClampedArray.from(x, even);
  }

  /* Rounds halves to the even neighbour, as Python and NumPy do. */
  function even(v) {
    const low = Math.floor(v), rest = v - low;
    return rest < 0.5 ? low : rest > 0.5 ? low + 1 : low + (low % 2 === 0 ? 0 : 1);
  }

  function percentile(values, p) {
    const sorted = Float64Array.from(values).sort(), at = (sorted.length - 1) * p / 100, low = Math.floor(at);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
  }

  /* A canvas to the planes of a model's pictures: one of grey or three of colour. */
  function planesOf(canvas, channels) {
    const { width, height } = canvas;
    const rgba = canvas.getContext("2d").getImageData(0, 0, width, height).data, n = width * height;
    const planes = Array.from({ length: channels }, () => new Uint8ClampedArray(n));
    for (let i = 0; i < n; i++) {
      const r = rgba[4 * i], g = rgba[4 * i + 1], b = rgba[4 * i + 2];
      if (channels === 1) planes[0][i] = (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16;
      else { planes[0][i] = r; planes[1][i] = g; planes[2][i] = b; }
    }
    return planes;
  }

  /* A canvas to pixels in [-1, 1] of the model's shape. */
  function prepare(canvas, [channels, size], usual) {
    const planes = planesOf(canvas, channels), { width, height } = canvas;
    const suited = channels === 1 ? suit(planes[0], width, height, size, usual)
      : { planes: fit(planes, width, height, size), done: [] };
    const pixels = new Float32Array(channels * size * size);
    suited.planes.forEach((plane, c) => plane.forEach((v, i) => { pixels[c * size * size + i] = v / 127.5 - 1; }));
    return { pixels, done: suited.done };
  }

  /* A file to a canvas, upright and on white. Throws an Error whose message is for people. */
  async function read(file) {
    if (!file.size) throw new Error(`${file.name} is empty.`);
    if (file.size > MOST_BYTES) throw new Error(`${file.name} is larger than 100 MB.`);
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      throw new Error(`${file.name} is not a picture that this browser can read.`);
    }
    const { width, height } = bitmap;
    if (width * height > MOST_PIXELS) {
      bitmap.close();
      throw new Error(`${file.name} has ${width} x ${height} pixels, which is too large; reduce it to 89 million or fewer.`);
    }
    const ratio = Math.min(1, CANVAS / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    const brush = canvas.getContext("2d", { willReadFrequently: true });
    brush.fillStyle = "#fff";
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.imageSmoothingQuality = "high";
    brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return canvas;
  }

  return { prepare, read, suit, even };
})();
