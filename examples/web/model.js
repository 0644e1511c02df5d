// Open an artifact and run it on one image, with nothing but onnxruntime-web.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { readCard } from "./card.js";
import { resize, rgb, target } from "./pixels.js";

ort.env.wasm.proxy = true; // the page stays alive while the model works

/** @param {ArrayBuffer} buffer of an .onnx file. */
export async function open(buffer) {
  const card = readCard(new Uint8Array(buffer));
  const session = await ort.InferenceSession.create(buffer, { executionProviders: ["wasm"] });
  return { card, session };
}

/**
 * What the model says of an image.
 *
 * @param {ImageData} image
 * @returns {Promise<object>} probability: Float32Array, height x width, in [0, 1]; scores: the
 *   classes with their posteriors, likeliest first; review: why to look twice, or null; seconds.
 */
export async function predict({ card, session }, image) {
  const start = performance.now();
  const size = [image.height, image.width];
  const seen = target(card.input.size, ...size, card.input.min_side);
  const pixels = resize(rgb(image), size, seen, 3);
  const batch = card.input.batch ?? 1;
  const filled = new Uint8Array(batch * pixels.length);
  for (let at = 0; at < batch; at++) filled.set(pixels, at * pixels.length);
  const input = new ort.Tensor("uint8", filled, [batch, ...seen, 3]);
  const outputs = await session.run({ [card.input.name]: input });
  const mask = outputs.mask.data.subarray(0, seen[0] * seen[1]);
  const count = card.classes.length;
  const posterior = (name) => outputs[name] && Array.from(outputs[name].data.subarray(0, count));
  const probs = posterior("probs") ?? posterior("localizer_probs") ?? [];
  return {
    probability: resize(mask, seen, size, 1),
    width: image.width,
    height: image.height,
    scores: probs
      .map((probability, at) => ({ label: card.classes[at], probability }))
      .sort((a, b) => b.probability - a.probability),
    review: review(card, mask, posterior("probs"), posterior("background_probs")),
    seconds: (performance.now() - start) / 1000,
  };
}

function review({ trust, threshold }, mask, probs, background) {
  if (probs && entropy(probs) > trust.foreground_entropy_max) {
    return "the foreground is undecided between the classes";
  }
  if (background && entropy(background) < trust.background_entropy_min) {
    return "the background still predicts a class: the mask may be incomplete";
  }
  if (probs && contrast(mask, threshold.value) < (trust.mask_contrast_min ?? 0)) {
    return "the mask is faint: it hardly tells inside from outside";
  }
  return null;
}

function contrast(mask, threshold) {
  const inside = mask.filter((p) => p > threshold);
  const outside = mask.filter((p) => p <= threshold);
  const mean = (values) => values.reduce((sum, p) => sum + p, 0) / values.length;
  return inside.length && outside.length ? mean(inside) - mean(outside) : 1;
}

function entropy(probs) {
  const nats = probs.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0);
  return nats / Math.log(probs.length);
}
