"use strict";
/* Computes a network that graph.py has listed, for one image, with typed arrays alone.
   A value is {data: Float32Array, shape: [1, ...]}; operation number i makes value number i, -1 is the input. */
const Engine = (() => {
  const size = (shape) => shape.reduce((a, b) => a * b, 1);
  const make = (shape) => ({ data: new Float32Array(size(shape)), shape });

  function padded(x, [top, left, bottom, right], value = 0, reflect = false) {
    const [n, channels, height, width] = x.shape;
    const tall = height + top + bottom, wide = width + left + right;
    const y = make([n, channels, tall, wide]);
    if (value) y.data.fill(value);
    const mirror = (i, length) => (i < 0 ? -i : i >= length ? 2 * length - 2 - i : i);
    for (let c = 0; c < n * channels; c++)
      for (let row = reflect ? 0 : top; row < (reflect ? tall : top + height); row++) {
        const from = (c * height + mirror(row - top, height)) * width, to = (c * tall + row) * wide;
        y.data.set(x.data.subarray(from, from + width), to + left);
        if (!reflect) continue;
        for (let i = 0; i < left; i++) y.data[to + i] = x.data[from + left - i];
        for (let i = 0; i < right; i++) y.data[to + left + width + i] = x.data[from + width - 2 - i];
      }
    return y;
  }

  function conv(op, [x, weight, bias]) {
    const [sy, sx] = op.stride, [py, px] = op.pad;
    const input = py || px ? padded(x, [py, px, py, px]) : x;
    const [, cin, tall, wide] = input.shape, [cout, , ky, kx] = weight.shape;
    const height = Math.floor((tall - ky) / sy) + 1, width = Math.floor((wide - kx) / sx) + 1, n = height * width;
    const y = make([1, cout, height, width]), a = input.data, w = weight.data;
    if (bias) bias.data.forEach((b, o) => y.data.fill(b, o * n, (o + 1) * n));
    if (ky === 3 && kx === 3 && sx === 1 && sy === 1) {
      threeByThree(y, input, w);
      return y;
    }
    for (let o = 0; o < cout; o++)
      for (let c = 0; c < cin; c++)
        for (let v = 0; v < ky; v++)
          for (let u = 0; u < kx; u++) {
            const k = w[((o * cin + c) * ky + v) * kx + u];
            for (let row = 0; row < height; row++) {
              const from = (c * tall + row * sy + v) * wide + u, to = o * n + row * width;
              for (let i = 0; i < width; i++) y.data[to + i] += k * a[from + i * sx];
            }
          }
    return y;
  }

  /* Most of the work of most networks: two output channels at a time, over a window that slides along the row,
     so that a pixel is loaded three times and not eighteen. */
  function threeByThree(y, x, w) {
    const [, cin, tall, wide] = x.shape, [, cout, height, width] = y.shape, n = height * width, a = x.data;
    const spare = new Float32Array(n);
    for (let o = 0; o < cout; o += 2) {
      const two = o + 1 < cout, first = y.data.subarray(o * n, (o + 1) * n);
      const second = two ? y.data.subarray((o + 1) * n, (o + 2) * n) : spare;
      for (let c = 0; c < cin; c++) {
        const k = (o * cin + c) * 9, l = two ? k + cin * 9 : k;
        const k0 = w[k], k1 = w[k + 1], k2 = w[k + 2], k3 = w[k + 3], k4 = w[k + 4], k5 = w[k + 5],
          k6 = w[k + 6], k7 = w[k + 7], k8 = w[k + 8];
        const l0 = w[l], l1 = w[l + 1], l2 = w[l + 2], l3 = w[l + 3], l4 = w[l + 4], l5 = w[l + 5],
          l6 = w[l + 6], l7 = w[l + 7], l8 = w[l + 8];
        for (let row = 0; row < height; row++) {
          const p = (c * tall + row) * wide, q = p + wide, r = q + wide, s = row * width;
          let a0 = a[p], a1 = a[p + 1], b0 = a[q], b1 = a[q + 1], c0 = a[r], c1 = a[r + 1];
          for (let i = 0; i < width; i++) {
            const a2 = a[p + i + 2], b2 = a[q + i + 2], c2 = a[r + i + 2];
            first[s + i] += k0 * a0 + k1 * a1 + k2 * a2 + k3 * b0 + k4 * b1 + k5 * b2 + k6 * c0 + k7 * c1 + k8 * c2;
            second[s + i] += l0 * a0 + l1 * a1 + l2 * a2 + l3 * b0 + l4 * b1 + l5 * b2 + l6 * c0 + l7 * c1 + l8 * c2;
            a0 = a1; a1 = a2; b0 = b1; b1 = b2; c0 = c1; c1 = c2;
          }
        }
      }
    }
  }

  function transposed(op, [x, weight, bias]) {
    const [sy, sx] = op.stride, [py, px] = op.pad, [ey, ex] = op.extra;
    const [, cin, tall, wide] = x.shape, [, cout, ky, kx] = weight.shape;
    const height = (tall - 1) * sy - 2 * py + ky + ey, width = (wide - 1) * sx - 2 * px + kx + ex;
    const y = make([1, cout, height, width]);
    for (let o = 0; o < cout; o++) {
      const start = o * height * width;
      if (bias) y.data.fill(bias.data[o], start, start + height * width);
      for (let c = 0; c < cin; c++)
        for (let v = 0; v < ky; v++)
          for (let u = 0; u < kx; u++) {
            const w = weight.data[((c * cout + o) * ky + v) * kx + u];
            for (let row = 0; row < tall; row++) {
              const at = row * sy + v - py;
              if (at < 0 || at >= height) continue;
              for (let i = 0; i < wide; i++) {
                const to = i * sx + u - px;
                if (to >= 0 && to < width) y.data[start + at * width + to] += w * x.data[(c * tall + row) * wide + i];
              }
            }
          }
    }
    return y;
  }

  function norm(op, [x, gain, bias]) {
    const channels = x.shape[1], places = size(x.shape.slice(2)), y = make(x.shape);
    const each = channels / op.groups, count = each * places;
    for (let g = 0; g < op.groups; g++) {
      const start = g * count;
      let mean = 0, variance = 0;
      for (let i = start; i < start + count; i++) mean += x.data[i];
      mean /= count;
      for (let i = start; i < start + count; i++) variance += (x.data[i] - mean) ** 2;
      const scale = 1 / Math.sqrt(variance / count + op.eps);
      for (let c = g * each; c < (g + 1) * each; c++) {
        const a = scale * (gain ? gain.data[c] : 1), b = (bias ? bias.data[c] : 0) - mean * a;
        for (let i = c * places; i < (c + 1) * places; i++) y.data[i] = x.data[i] * a + b;
      }
    }
    return y;
  }

  function scale(op, [x, gain, shift]) {
    const places = size(x.shape.slice(2)), y = make(x.shape);
    for (let i = 0; i < y.data.length; i++) {
      const c = Math.floor(i / places);
      y.data[i] = x.data[i] * gain.data[c] + shift.data[c];
    }
    return y;
  }

  function pool(op, [x]) {
    const [n, channels, tall, wide] = x.shape, [ky, kx] = op.size;
    const height = Math.floor(tall / ky), width = Math.floor(wide / kx);
    const y = make([n, channels, height, width]);
    for (let c = 0; c < n * channels; c++)
      for (let row = 0; row < height; row++)
        for (let i = 0; i < width; i++) {
          let sum = 0;
          for (let v = 0; v < ky; v++)
            for (let u = 0; u < kx; u++) sum += x.data[(c * tall + row * ky + v) * wide + i * kx + u];
          y.data[(c * height + row) * width + i] = sum / (ky * kx);
        }
    return y;
  }

  function upsample(op, [x]) {
    const [n, channels, height, width] = x.shape, [fy, fx] = op.factor;
    const y = make([n, channels, height * fy, width * fx]);
    for (let c = 0, to = 0; c < n * channels; c++)
      for (let row = 0; row < height * fy; row++) {
        const from = (c * height + Math.floor(row / fy)) * width;
        for (let i = 0; i < width * fx; i++) y.data[to++] = x.data[from + Math.floor(i / fx)];
      }
    return y;
  }

  function linear(op, [x, weight, bias]) {
    const [cout, cin] = weight.shape, rows = x.data.length / cin;
    const y = make([...x.shape.slice(0, -1), cout]);
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < cout; o++) {
        let sum = bias ? bias.data[o] : 0;
        for (let i = 0, k = o * cin, a = r * cin; i < cin; i++) sum += weight.data[k + i] * x.data[a + i];
        y.data[r * cout + o] = sum;
      }
    return y;
  }

  function narrow(op, [x]) {
    const shape = [...x.shape], inner = size(shape.slice(op.dim + 1)), outer = size(shape.slice(0, op.dim));
    const step = shape[op.dim] * inner;
    shape[op.dim] = op.size;
    const y = make(shape);
    for (let i = 0; i < outer; i++) {
      const from = i * step + op.start * inner;
      y.data.set(x.data.subarray(from, from + op.size * inner), i * op.size * inner);
    }
    return y;
  }

  function cat(op, parts) {
    const shape = [...parts[0].shape], outer = size(shape.slice(0, op.dim));
    shape[op.dim] = parts.reduce((sum, part) => sum + part.shape[op.dim], 0);
    const y = make(shape);
    for (let i = 0, to = 0; i < outer; i++)
      for (const part of parts) {
        const count = part.data.length / outer;
        y.data.set(part.data.subarray(i * count, (i + 1) * count), to);
        to += count;
      }
    return y;
  }

  /* Shapes are aligned at their ends; an extent of 1 is repeated. */
  const binary = (f) => (op, [a, b]) => {
    const rank = Math.max(a.shape.length, b.shape.length);
    const [sa, sb] = [a, b].map((x) => [...Array(rank - x.shape.length).fill(1), ...x.shape]);
    const shape = sa.map((n, d) => Math.max(n, sb[d])), y = make(shape);
    const steps = (s) => s.map((n, d) => (n === 1 ? 0 : size(s.slice(d + 1))));
    const pa = steps(sa), pb = steps(sb), at = Array(rank).fill(0);
    for (let i = 0, ia = 0, ib = 0; i < y.data.length; i++) {
      y.data[i] = f(a.data[ia], b.data[ib]);
      for (let d = rank - 1; d >= 0; d--) {
        ia += pa[d]; ib += pb[d];
        if (++at[d] < shape[d]) break;
        ia -= pa[d] * shape[d]; ib -= pb[d] * shape[d]; at[d] = 0;
      }
    }
    return y;
  };
  const unary = (f) => (op, [x]) => ({ data: x.data.map((v) => f(v)), shape: x.shape });

  function argmin(op, [x]) {
    const [rows, columns] = x.shape, y = make([rows]);
    for (let r = 0; r < rows; r++)
      for (let i = 1, best = x.data[r * columns]; i < columns; i++)
        if (x.data[r * columns + i] < best) { best = x.data[r * columns + i]; y.data[r] = i; }
    return y;
  }

  function rows(op, [table, index]) {
    const width = size(table.shape.slice(1)), y = make([...index.shape, ...table.shape.slice(1)]);
    index.data.forEach((row, i) => y.data.set(table.data.subarray(row * width, (row + 1) * width), i * width));
    return y;
  }

  const OPS = {
    conv, transposed, norm, scale, pool, upsample, linear, narrow, cat, argmin, rows,
    view: (op, [x]) => ({ data: x.data, shape: op.shape }),
    pad: (op, [x]) => {
      const [left, right, top, bottom] = op.edges;
      return padded(x, [top, left, bottom, right], op.value, op.reflect);
    },
    leaky: (op, [x]) => {
      const y = make(x.shape), slope = op.slope;
      for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[i] < 0 ? slope * x.data[i] : x.data[i];
      return y;
    },
    add: binary((a, b) => a + b), sub: binary((a, b) => a - b),
    mul: binary((a, b) => a * b), div: binary((a, b) => a / b),
    tanh: unary(Math.tanh), exp: unary(Math.exp), square: unary((v) => v * v),
    sqrt: unary(Math.sqrt), abs: unary(Math.abs), neg: unary((v) => -v), reciprocal: unary((v) => 1 / v),
    sigmoid: unary((v) => 1 / (1 + Math.exp(-v))), silu: unary((v) => v / (1 + Math.exp(-v))),
  };

  /* ops: the list; constants: {name: value}; data: what goes in, as a flat array of the given shape. */
  function run(ops, constants, data, shape) {
    const values = [], last = new Map();
    ops.forEach((op, i) => op.in.forEach((x) => last.set(x, i)));
    const input = { data, shape };
    ops.forEach((op, i) => {
      values.push(OPS[op.op](op, op.in.map((x) => (typeof x === "string" ? constants[x] : x < 0 ? input : values[x]))));
      op.in.forEach((x) => { if (x >= 0 && last.get(x) === i) values[x] = null; });
    });
    return values[values.length - 1].data;
  }
  return { run };
})();
