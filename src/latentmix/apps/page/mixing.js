"use strict";
/* Paths between codes, and what a mix is worth: as latentmix.mixing.paths and latentmix.metrics.honesty. */
const Mixing = (() => {
  function lerp(a, b, t) { return a.map((v, i) => (1 - t) * v + t * b[i]); }

  function slerp(a, b, t) {
    const norm = (x) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0)) || 1, na = norm(a), nb = norm(b);
    let minus = 0, plus = 0;
    for (let i = 0; i < a.length; i++) { minus += (a[i] / na - b[i] / nb) ** 2; plus += (a[i] / na + b[i] / nb) ** 2; }
    const w = 2 * Math.atan2(Math.sqrt(minus), Math.sqrt(plus)), s = Math.sin(w);
    if (s <= 1e-4) return lerp(a, b, t);
    return a.map((v, i) => (Math.sin((1 - t) * w) * v + Math.sin(t * w) * b[i]) / s);
  }

  /* The first round(t units) feature maps of b, the others of a; halves go to the even number, as in torch. */
  function crossover(a, b, t, units) {
    const each = a.length / units, count = Pictures.even(t * units);
    return a.map((v, i) => (Math.floor(i / each) < count ? b[i] : v));
  }

  const weighted = (codes, weights) => codes[0].map((_, i) => codes.reduce((sum, h, k) => sum + weights[k] * h[i], 0));

  /* Root mean square difference of pixels in [-1, 1], as a share of the range. */
  function distance(x, y) {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += (x[i] - y[i]) ** 2;
    return Math.sqrt(sum / x.length) / 2;
  }

  /* Deviation of pixels in [-1, 1] from the mean of their channel, as a share of the range; 0 for a blank picture. */
  function contrast(x, channels) {
    const n = x.length / channels;
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      const part = x.subarray(c * n, (c + 1) * n), mean = part.reduce((a, v) => a + v, 0) / n;
      sum += part.reduce((a, v) => a + (v - mean) ** 2, 0) / n;
    }
    return Math.sqrt(sum / channels) / 2;
  }

  /* The k nearest of many pictures, given as bytes one behind the other: their indices, and the first's distance. */
  function nearest(pixels, pictures, k = 1) {
    const n = pixels.length, x = Float32Array.from(pixels, (v) => (Math.min(1, Math.max(-1, v)) + 1) * 127.5);
    const best = []; // [sum of squares, index], in order
    for (let i = 0; i * n < pictures.length; i++) {
      const bound = best.length < k ? Infinity : best[k - 1][0];
      let sum = 0;
      for (let p = 0, q = i * n; p < n && sum < bound; p++, q++) sum += (x[p] - pictures[q]) ** 2;
      if (sum >= bound) continue;
      let place = best.length;
      while (place && best[place - 1][0] > sum) place--;
      best.splice(place, 0, [sum, i]);
      best.length = Math.min(best.length, k);
    }
    return { distance: Math.sqrt(best[0][0] / n) / 255, index: best[0][1], indices: best.map(([, i]) => i) };
  }

  /* Classes by the votes of the nearest training images (neighbours.py), or by a classifier's logits, in percent
     (trained_reader.py). */
  function votes(indices, { labels, names }) {
    const count = new Array(names.length).fill(0);
    indices.forEach((i) => { count[labels[i]]++; });
    return count;
  }
  function percents(logits) {
    const top = Math.max(...logits), each = Array.from(logits, (v) => Math.exp(v - top));
    const sum = each.reduce((a, v) => a + v, 0);
    return each.map((v) => (100 * v) / sum);
  }
  const winner = (count) => count.indexOf(Math.max(...count));

  const show = (count) => (count === 1 ? "shows" : "show");

  /* How many votes there are for each of some classes: pairs of votes and names, in words. */
  function because(shown, { k, ops }) {
    if (ops) return `the classifiers give ${shown.map(([n, name]) => `${Math.floor(n)} % to ${name}`).join(", and ")}`;
    return shown.map(([n, name], i) => `${n}${i ? "" : ` of the ${k} nearest training images`} ${show(n)} ${name}`).join(", and ");
  }

  const enough = ({ clear, ops }) => (ops ? `${(Math.ceil(10 * clear) / 10).toFixed(1)} %` : clear.toFixed(0));
  const either = (names) => names.join(", ").replace(/, (?=[^,]*$)/, " or ");

  /* Why a mix with these votes may show none of its parents' classes; empty if it does (readers.py). */
  function doubt(count, parents, reader) {
    const { names, clear } = reader;
    if (!parents.length) return "";
    const classes = [...new Set(parents.map(winner))].sort((a, b) => a - b), read = winner(count);
    const theirs = classes.reduce((sum, c) => sum + count[c], 0), known = either(classes.map((c) => names[c]));
    if (theirs >= clear) return "";
    if (classes.includes(read)) return `hard to read: ${because([[theirs, known]], reader)}; ${enough(reader)} or more would be clear`;
    return `reads as ${names[read]}, not as ${known}: ${because([[count[read], names[read]], [theirs, known]], reader)}`;
  }

  /* Ghosting and collapse of a mix of decoded parents by their shares; null where nothing was mixed. */
  function exposures(pixels, copies, shares) {
    const used = copies.map((copy, i) => ({ copy, share: shares[i] })).filter((p) => p.share > 1e-9);
    const blend = new Float32Array(pixels.length);
    used.forEach(({ copy, share }) => copy.forEach((v, i) => { blend[i] += share * v; }));
    const scale = Math.min(...used.map(({ copy }) => distance(blend, copy)));
    const toParent = Math.min(...used.map(({ copy }) => distance(pixels, copy)));
    const share = (d) => (used.length > 1 && scale > 1e-6 ? Math.max(0, 1 - d / scale) : null);
    return { ghosting: share(distance(pixels, blend)), collapse: share(toParent) };
  }

  return { lerp, slerp, crossover, weighted, distance, contrast, nearest, votes, percents, winner, doubt, exposures };
})();
