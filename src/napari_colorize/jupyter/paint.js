// Painted hints: an RGBA image of the display size, transparent where nothing is painted.
//
// Paint is exchanged as a PNG, which is small and which both sides can change. During a stroke it
// is sent at most once per `SEND_INTERVAL`.

const SEND_INTERVAL = 120; // milliseconds
const EXACT = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

class Paint {
  /** `onSent` is called after paint was sent to the kernel. */
  constructor(model, onSent) {
    Object.assign(this, { model, onSent });
    this.layer = null;
    this.isPending = false; // painted, but not yet part of the displayed colors
    this.isDirty = this.isSending = false;
    this.png = null; // as last sent or read
  }

  /** Read paint that the kernel or another view has set. */
  async read() {
    const png = this.model.get("paint");
    const [height, width] = this.model.get("size");
    if (!height || !width) {
      this.layer = null;
      return;
    }
    const isNewSize = this.layer?.canvas.width !== width || this.layer.canvas.height !== height;
    if (!isNewSize && (png === this.png || this.isDirty)) return;
    const image = png.byteLength
      ? await createImageBitmap(new Blob([png], { type: "image/png" }), EXACT)
      : null;
    if (png !== this.model.get("paint")) return; // newer paint arrived during decoding
    this.png = png;
    this.layer = new Layer([height, width]);
    if (!image) return;
    const { context } = this.layer;
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, width, height);
    this.layer.image = context.getImageData(0, 0, width, height);
    this.layer.rgba = new Uint32Array(this.layer.image.data.buffer);
  }

  /** Paint all pixels within a radius of a line segment, ends included; color null erases. */
  stroke([x, y], [endX, endY], radius, color) {
    if (!this.layer) return;
    const { rgba, canvas } = this.layer;
    const value = color ? packed(color) : 0;
    const left = Math.max(0, Math.floor(Math.min(x, endX) - radius));
    const top = Math.max(0, Math.floor(Math.min(y, endY) - radius));
    const right = Math.min(canvas.width, Math.ceil(Math.max(x, endX) + radius + 1));
    const bottom = Math.min(canvas.height, Math.ceil(Math.max(y, endY) + radius + 1));
    if (left >= right || top >= bottom) return;
    const [dx, dy] = [endX - x, endY - y];
    const length = dx * dx + dy * dy || 1;
    // At least half a pixel's diagonal, so that a fine brush still hits the pixels on its way.
    const limit = Math.max(radius, Math.SQRT1_2) ** 2;
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const [px, py] = [column + 0.5 - x, row + 0.5 - y];
        const along = Math.min(Math.max((px * dx + py * dy) / length, 0), 1);
        if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= limit) {
          rgba[row * canvas.width + column] = value;
        }
      }
    }
    this.layer.update(left, top, right - left, bottom - top);
    this.isDirty = this.isPending = true;
    this.send();
  }

  async send() {
    if (this.isSending || !this.isDirty) return;
    this.isSending = true;
    this.isDirty = false;
    const blob = await this.layer.canvas.convertToBlob({ type: "image/png" });
    this.png = new DataView(await blob.arrayBuffer());
    this.model.set("paint", this.png);
    this.model.save_changes();
    await new Promise((resolve) => setTimeout(resolve, SEND_INTERVAL));
    this.isSending = false;
    this.onSent();
    this.send();
  }

  get isUnsent() {
    return this.isDirty || this.isSending;
  }

  /** A new result arrived; it contains all paint that was sent. */
  markApplied() {
    this.isPending = this.isDirty;
  }
}

/** #rrggbb as a pixel of an ImageData. */
function packed(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}
