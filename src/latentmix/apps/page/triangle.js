"use strict";
/* The triangle of three parents: where weights lie on its canvas, its tiles and its handle. */
const Triangle = (() => {
  const SIDE = 5, HALF = 34, TOP = { x: 210, y: 44 }, LEFT = { x: 44, y: 346 }, RIGHT = { x: 376, y: 346 };

  const place = ([a, b, c]) => ({ x: a * TOP.x + b * LEFT.x + c * RIGHT.x, y: a * TOP.y + b * LEFT.y + c * RIGHT.y });

  /* The weights at a point of the canvas; outside the triangle those of a point at its edge. */
  function weigh(x, y) {
    const a = (LEFT.y - y) / (LEFT.y - TOP.y), c = (x - a * TOP.x - (1 - a) * LEFT.x) / (RIGHT.x - LEFT.x);
    const w = [a, 1 - a - c, c].map((v) => Math.max(0, v)), sum = w[0] + w[1] + w[2];
    return w.map((v) => v / sum);
  }

  /* The even grid of mixes, line by line from the top. */
  function points() {
    const found = [], total = SIDE - 1;
    for (let line = 0; line < SIDE; line++)
      for (let c = 0; c <= line; c++) {
        const weights = [(total - line) / total, (line - c) / total, c / total];
        found.push({ weights, ...place(weights), canvas: document.createElement("canvas") });
      }
    return found;
  }

  function draw(canvas, tiles, weights, colours) {
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.imageSmoothingEnabled = false;
    tiles.forEach((p) => brush.drawImage(p.canvas, p.x - HALF, p.y - HALF, 2 * HALF, 2 * HALF));
    [TOP, LEFT, RIGHT].forEach((p, i) => {
      brush.strokeStyle = colours[i];
      brush.lineWidth = 4;
      brush.strokeRect(p.x - HALF - 2, p.y - HALF - 2, 2 * HALF + 4, 2 * HALF + 4);
    });
    const at = place(weights);
    for (const [width, style] of [[7, "#000"], [3, "#fff"]]) {
      brush.lineWidth = width;
      brush.strokeStyle = style;
      brush.beginPath();
      brush.arc(at.x, at.y, 13, 0, 2 * Math.PI);
      brush.stroke();
    }
  }

  return { weigh, points, draw };
})();
