// The page: a model file, an image, its mask.

import { open, predict } from "./model.js";

const MOST_PIXELS = 16_000_000;
const OUTLINE = [11, 110, 79];
const at = (id) => document.getElementById(id);
const page = { model: null, picture: null, found: null, bare: false };

function say(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
}

async function useModel(buffer) {
  page.model = await open(buffer);
  const { card } = page.model;
  at("threshold").value = card.threshold.value;
  say(`Model ${card.name}: ${card.classes.join(", ")}`);
  at("choose").textContent = "Another model";
  if (page.picture) await look();
}

async function useImage(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  if (bitmap.width * bitmap.height > MOST_PIXELS) {
    throw new Error(`${bitmap.width} x ${bitmap.height} is too large for a browser`);
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  page.picture = context.getImageData(0, 0, bitmap.width, bitmap.height);
  page.found = null;
  at("drop").hidden = true;
  at("drop").style.display = "none";
  at("canvas").hidden = false;
  draw();
  if (page.model) await look();
}

async function look() {
  at("busy").hidden = false;
  try {
    page.found = await predict(page.model, page.picture);
  } finally {
    at("busy").hidden = true;
  }
  describe();
  draw();
}

function mask() {
  const threshold = Number(at("threshold").value);
  return Uint8Array.from(page.found.probability, (p) => (p > threshold ? 1 : 0));
}

function draw() {
  const { width, height, data } = page.picture;
  const canvas = at("canvas");
  [canvas.width, canvas.height] = [width, height];
  const shown = new ImageData(new Uint8ClampedArray(data), width, height);
  if (page.found) {
    const chosen = mask();
    if (!page.bare) {
      fade(shown.data, chosen, Number(at("opacity").value));
      outline(shown.data, chosen, width, height);
    }
    tell(chosen);
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

function tell(chosen) {
  const { width, height, seconds } = page.found;
  const share = chosen.reduce((sum, value) => sum + value, 0) / chosen.length;
  at("facts").textContent =
    `${(100 * share).toFixed(1)} % foreground, ${seconds.toFixed(2)} s, ${width} x ${height}`;
  at("threshold-value").textContent = Number(at("threshold").value).toFixed(2);
  at("caption").hidden = false;
  at("caption").textContent = share
    ? "Outlined: what decides the label. Press the image to see it bare."
    : "No pixel is above the threshold: nothing here decides the label.";
}

/** The background fades to white; the foreground keeps its colours. */
function fade(pixels, chosen, opacity) {
  chosen.forEach((inside, place) => {
    if (inside) return;
    for (let c = 0; c < 3; c++) {
      pixels[4 * place + c] += opacity * (255 - pixels[4 * place + c]);
    }
  });
}

/** The foreground's own pixels beside the background. */
function outline(pixels, chosen, width, height) {
  const reach = Math.max(1, Math.round(Math.max(width, height) / 400));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const place = y * width + x;
      const edge =
        (x >= reach && !chosen[place - reach]) ||
        (x + reach < width && !chosen[place + reach]) ||
        (y >= reach && !chosen[place - reach * width]) ||
        (y + reach < height && !chosen[place + reach * width]);
      if (chosen[place] && edge) pixels.set([...OUTLINE, 255], 4 * place);
    }
  }
}

function describe() {
  at("result").hidden = false;
  at("scores").replaceChildren(
    ...page.found.scores.slice(0, 5).map(({ label, probability }) => {
      const item = document.createElement("li");
      const name = document.createElement("span");
      name.textContent = label;
      const percent = document.createElement("span");
      percent.textContent = `${(100 * probability).toFixed(1)} %`;
      const meter = document.createElement("meter");
      meter.value = probability;
      item.append(name, percent, meter);
      return item;
    }),
  );
  at("review").hidden = page.found.review === null;
  at("review").textContent = `Look twice: ${page.found.review}.`;
}

async function download() {
  const { width, height } = page.found;
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  mask().forEach((inside, place) => {
    image.data.set([255 * inside, 255 * inside, 255 * inside, 255], 4 * place);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

const guarded = (work, what) => async (...values) => {
  try {
    await work(...values);
  } catch (error) {
    say(`${what}: ${error.message}`, true);
  }
};
const takeModel = guarded(async (file) => useModel(await file.arrayBuffer()), "The model");
const takeImage = guarded(useImage, "The image");

at("model").addEventListener("change", (event) => takeModel(event.target.files[0]));
at("image").addEventListener("change", (event) => takeImage(event.target.files[0]));
at("threshold").addEventListener("input", draw);
at("opacity").addEventListener("input", draw);
for (const [name, bare] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false]]) {
  at("canvas").addEventListener(name, () => {
    page.bare = bare;
    draw();
  });
}
at("download").addEventListener("click", async (event) => {
  if (event.currentTarget.href) return;
  event.preventDefault();
  const link = event.currentTarget;
  link.href = URL.createObjectURL(await download());
  link.click();
  URL.revokeObjectURL(link.href);
  link.removeAttribute("href");
});
for (const name of ["dragover", "dragleave", "drop"]) {
  at("stage").addEventListener(name, (event) => {
    event.preventDefault();
    at("stage").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) takeImage(event.dataTransfer.files[0]);
  });
}

guarded(async () => {
  const reply = await fetch("model.onnx");
  if (!reply.ok) {
    say("Choose a model file that wsol export wrote.");
    return;
  }
  await useModel(await reply.arrayBuffer());
}, "model.onnx")();
