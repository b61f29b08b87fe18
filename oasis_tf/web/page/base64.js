// Bytes in the form that strings have in TensorFlow Serving's REST form: { b64 }.

export async function toB64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return { b64: btoa(text) };
}

export function fromB64({ b64 }) {
  return Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
}
