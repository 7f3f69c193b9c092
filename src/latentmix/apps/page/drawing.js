"use strict";
/* Paper to draw on with mouse, pen or finger. */
const Drawing = (() => {
  const $ = (id) => document.getElementById(id);

  /* Calls f(event, first) while the pointer is held down on an element. */
  function drag(element, f) {
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); f(event, true); });
    element.addEventListener("pointermove", (event) => { if (event.buttons) f(event, false); });
  }

  /* use(canvas) gets a copy of the drawing; fail(text) is told about an empty paper. */
  function start(use, fail) {
    const paper = $("paper"), brush = paper.getContext("2d", { willReadFrequently: true }), { width, height } = paper;
    let last = null, empty = true;
    const clear = () => { brush.fillStyle = "#fff"; brush.fillRect(0, 0, width, height); empty = true; };
    clear();
    drag(paper, (event, first) => {
      const box = paper.getBoundingClientRect(), ratio = width / box.width;
      const at = { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
      if (first) last = at;
      brush.lineCap = brush.lineJoin = "round";
      brush.lineWidth = $("pen").value;
      brush.strokeStyle = "#000";
      brush.beginPath();
      brush.moveTo(last.x, last.y);
      brush.lineTo(at.x + 0.01, at.y); // a tap leaves a dot
      brush.stroke();
      [last, empty] = [at, false];
    });
    $("clear").addEventListener("click", clear);
    $("draw").addEventListener("click", () => {
      $("drawing").hidden = !$("drawing").hidden;
      $("draw").setAttribute("aria-expanded", !$("drawing").hidden);
    });
    $("use").addEventListener("click", () => {
      if (empty) { fail("The paper is empty: draw on it with the mouse, a pen or a finger first."); return; }
      const copy = document.createElement("canvas");
      [copy.width, copy.height] = [width, height];
      copy.getContext("2d").drawImage(paper, 0, 0);
      use(copy);
    });
  }

  return { start, drag };
})();
