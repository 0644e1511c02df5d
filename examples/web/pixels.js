// Pixels: what the graph sees of an image, and its mask back at the image's size.

/** RGB of an ImageData whose transparent parts lie over white. */
export function rgb(image) {
  const pixels = new Uint8Array((image.data.length / 4) * 3);
  for (let from = 0, to = 0; from < image.data.length; from += 4) {
    pixels[to++] = image.data[from];
    pixels[to++] = image.data[from + 1];
    pixels[to++] = image.data[from + 2];
  }
  return pixels;
}

/** [height, width] the graph sees, by the card's size policy. */
export function target(policy, height, width, least) {
  if (policy.height && policy.width) return [policy.height, policy.width];
  let scale = 1;
  if (policy.mode === "shorter-side") scale = policy.size / Math.min(height, width);
  if (policy.mode === "longer-side") scale = policy.size / Math.max(height, width);
  return [height, width].map((side) => Math.max(least, roundHalfToEven(side * scale)));
}

/**
 * Resize interleaved pixels: area averaging when shrinking, bilinear when growing.
 *
 * @param {Float32Array|Uint8Array} source height x width x channels.
 * @returns {Float32Array|Uint8Array} of the same type.
 */
export function resize(source, [height, width], [toHeight, toWidth], channels) {
  if (height === toHeight && width === toWidth) return source;
  const axis = toHeight * toWidth < height * width ? area : linear;
  const columns = axis(width, toWidth);
  const rows = axis(height, toHeight);
  const wide = new Float32Array(height * toWidth * channels);
  blend(source, wide, columns, (y, x) => (y * width + x) * channels, height, channels, false);
  const tall = new Float32Array(toHeight * toWidth * channels);
  blend(wide, tall, rows, (y, x) => (y * toWidth + x) * channels, toWidth, channels, true);
  return source instanceof Uint8Array ? Uint8Array.from(tall, Math.round) : tall;
}

function blend(source, result, taps, index, others, channels, alongRows) {
  for (let other = 0; other < others; other++) {
    taps.forEach(({ start, weights }, place) => {
      const to = alongRows ? (place * others + other) * channels
        : (other * taps.length + place) * channels;
      weights.forEach((weight, step) => {
        const from = alongRows ? index(start + step, other) : index(other, start + step);
        for (let c = 0; c < channels; c++) result[to + c] += weight * source[from + c];
      });
    });
  }
}

function linear(from, to) {
  return Array.from({ length: to }, (_, place) => {
    const centre = Math.min(Math.max(((place + 0.5) * from) / to - 0.5, 0), from - 1);
    const start = Math.min(Math.floor(centre), from - 1);
    const part = centre - start;
    return { start, weights: part > 0 && start + 1 < from ? [1 - part, part] : [1] };
  });
}

function area(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, place) => {
    const low = place * scale;
    const high = Math.min((place + 1) * scale, from);
    const start = Math.floor(low);
    const weights = [];
    for (let x = start; x < high; x++) {
      weights.push((Math.min(x + 1, high) - Math.max(x, low)) / (high - low));
    }
    return { start, weights };
  });
}

function roundHalfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}
