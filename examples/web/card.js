// The model card inside an .onnx file: the entry "wsol" of ModelProto.metadata_props.

const METADATA_PROPS = 14;
const KEY = 1;
const VALUE = 2;

/**
 * Read the card.
 *
 * @param {Uint8Array} bytes of an .onnx file.
 * @returns {object} the card.
 * @throws {Error} the file is damaged, or has no card.
 */
export function readCard(bytes) {
  const text = new TextDecoder();
  for (const entry of fields(bytes, 0, bytes.length)) {
    if (entry.number !== METADATA_PROPS) continue;
    const pair = {};
    for (const part of fields(bytes, entry.start, entry.stop)) {
      pair[part.number] = text.decode(bytes.subarray(part.start, part.stop));
    }
    if (pair[KEY] === "wsol") return checked(JSON.parse(pair[VALUE]));
  }
  throw new Error("this file has no wsol model card; export it with wsol export");
}

function checked(card) {
  const major = String(card.schema_version).split(".")[0];
  if (major !== "1") {
    throw new Error(`the model's card has schema ${card.schema_version}; this page reads 1`);
  }
  return card;
}

function* fields(bytes, start, end) {
  let at = start;
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 64 && at < end; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new Error("this file is no ONNX model, or is cut short");
  };
  while (at < end) {
    const tag = varint();
    const kind = tag % 8;
    let size = { 1: 8, 5: 4 }[kind];
    if (kind === 2) {
      size = varint();
    } else if (kind === 0) {
      varint();
      size = 0;
    } else if (size === undefined) {
      throw new Error("this file is no ONNX model");
    }
    if (at + size > end) throw new Error("this file is no ONNX model, or is cut short");
    yield { number: Math.floor(tag / 8), start: at, stop: at + size };
    at += size;
  }
}
