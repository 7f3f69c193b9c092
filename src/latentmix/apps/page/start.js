"use strict";
/* Unpacks what the page carries and starts it; the weights are in the page, or behind it where it is live. */
(async () => {
  const words = JSON.parse(document.getElementById("model-data").textContent);
  const packed = atob(document.getElementById("model-bytes").textContent.trim());
  document.getElementById("model-bytes").remove();
  if (!globalThis.DecompressionStream) throw new Error("This browser is too old for this page; any of 2023 or later will do.");
  const stream = new Blob([Uint8Array.from(packed, (c) => c.charCodeAt(0))]).stream();
  const content = await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const part = ({ offset, length }) => new Uint8Array(content, offset, length);
  const constants = {};
  for (const [name, { shape, offset, length }] of Object.entries(words.constants))
    constants[name] = { shape, data: new Float32Array(content, offset, length) };
  const token = new URLSearchParams(location.search).get("token");
  async function ask(what, values) {
    let answer;
    try {
      answer = await fetch(what, { method: "POST", headers: { "X-Token": token }, body: values });
    } catch {
      throw new Error("The model does not answer: has `latentmix explore` been stopped?");
    }
    if (!answer.ok) throw new Error(`The model refused: ${await answer.text()}`);
    return new Float32Array(await answer.arrayBuffer());
  }
  const engine = words.live
    ? { encode: (x) => ask("encode", x), decode: (h) => ask("decode", h) }
    : { encode: async (x) => Engine.run(words.encode, constants, x, [1, ...words.shape]),
      decode: async (h) => Engine.run(words.decode, constants, h, [1, ...words.codeShape]) };
  words.gallery.pictures = part(words.gallery.bytes);
  words.thumbnails = part(words.training.bytes);
  const { reader } = words, within = (pixels) => pixels.map((v) => Math.min(1, Math.max(-1, v)));
  if (reader && reader.ops)
    reader.votes = (pixels) => Mixing.percents(Engine.run(reader.ops, constants, within(pixels), [1, ...words.shape]));
  else if (reader) {
    const labels = part(reader.labels);
    reader.votes = (pixels, indices) => Mixing.votes(indices, { labels, names: reader.names });
  }
  words.check = new Float32Array(content, words.check.offset, words.check.length);
  words.pictureSize = words.shape.reduce((a, b) => a * b, 1);
  words.training = { count: words.training.count, of: words.training.of };
  await Page.start(words, engine);
})().catch((error) => Page.fail(error.message));
