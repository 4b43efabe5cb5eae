// Pixels of the displayed plane before and after colorization. Independent of the page.

const PARTS = ["size", "chroma", "correction", "hinted", "strokes", "shadows", "matrix", "bounds"];

/** An offscreen canvas and its pixels. */
class Layer {
  constructor([height, width]) {
    this.canvas = new OffscreenCanvas(width, height);
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
    this.rgba = new Uint32Array(this.image.data.buffer);
  }

  /** Copy the pixels to the canvas, all or those of a rectangle: left, top, width, height. */
  update(...rectangle) {
    this.context.putImageData(this.image, 0, 0, ...rectangle);
  }
}

/** The displayed plane in grayscale (`before`) and color (`after`). */
class DisplayedImage {
  constructor(model) {
    this.model = model;
    this.before = this.after = this.parts = this.outsideMask = null;
    this.crop = null; // part of the image at full resolution
    this.planeSerial = null;
    this.isExact = false;
  }

  get size() {
    return this.model.get("size");
  }

  /** Read a new plane, or new chroma of the same plane, from the model. */
  read() {
    this.parts = this.crop = null;
    if (this.planeSerial !== this.model.get("plane_serial")) this.readPlane();
    if (!this.before) return;
    if (!this.model.get("chroma").maps) {
      this.after = null;
      return; // without chroma (fidelity modes) the kernel sends the whole image
    }
    const outsideMask = this.model.get("outside_mask");
    this.outsideMask = outsideMask.byteLength ? readOutsideMask(outsideMask) : null;
    this.parts = prepare({
      gray: this.gray,
      ...Object.fromEntries(
        PARTS.map((name) => [name, this.model.get(name)]),
      ),
    });
    this.compose();
  }

  readPlane() {
    this.planeSerial = this.model.get("plane_serial");
    this.before = this.after = this.gray = null;
    const [height, width] = this.size;
    if (!height || !width) return;
    this.gray = new Uint16Array(bytesOf(this.model.get("gray")));
    this.before = new Layer(this.size);
    grayscale(this.gray, this.before.rgba);
    this.before.update();
  }

  compose() {
    if (!this.parts) return;
    this.after ??= new Layer(this.size);
    compose(this.parts, this.model.get("saturation"), this.after.rgba);
    if (this.outsideMask) restoreOutsideMask(this.outsideMask, this.after.rgba);
    this.after.update();
    this.isExact = false;
    this.crop = null;
  }

  /** Replace the composed pixels by those of the kernel, three bytes per pixel. */
  setExact(rgb) {
    this.after ??= new Layer(this.size);
    const rgba = this.after.rgba;
    for (let at = 0, from = 0; at < rgba.length; at++, from += 3) {
      rgba[at] = 0xff000000 | (rgb[from + 2] << 16) | (rgb[from + 1] << 8) | rgb[from];
    }
    this.after.update();
    this.isExact = true;
  }

  /** Keep a part at full resolution: one byte per pixel of gray, three of color. */
  setCrop({ size, area, zoom }, gray, rgb) {
    const [before, after] = [new Layer(size), new Layer(size)];
    for (let at = 0, from = 0; at < gray.length; at++, from += 3) {
      before.rgba[at] = 0xff000000 | (gray[at] << 16) | (gray[at] << 8) | gray[at];
      after.rgba[at] = 0xff000000 | (rgb[from + 2] << 16) | (rgb[from + 1] << 8) | rgb[from];
    }
    before.update();
    after.update();
    this.crop = { area, zoom, before: before.canvas, after: after.canvas };
  }

  /** Red, green and blue of a pixel, 0 to 255. */
  rgbAt(x, y) {
    const { rgba, canvas } = this.after ?? this.before;
    const value = rgba[Math.floor(y) * canvas.width + Math.floor(x)];
    return [value & 255, (value >> 8) & 255, (value >> 16) & 255];
  }

  /** Gray of a pixel, 0 to 255. */
  grayAt(x, y) {
    return Math.round(this.gray[Math.floor(y) * this.before.canvas.width + Math.floor(x)] / 257);
  }

  /** The color of a pixel as #rrggbb. */
  colorAt(x, y) {
    return `#${this.rgbAt(x, y).map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }
}
