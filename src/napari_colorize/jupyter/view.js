// The view: a picture before and after, with a divider, zoom, pan and a brush.
//
// Gray and chrominance come once for each prediction. The picture is composed from them here, so
// that it follows the saturation slider without asking anyone; when the slider rests, the kernel is
// asked for its exact picture, which takes the place of ours. Plain ESM for anywidget, no build:
// compose.js, picture.js, paint.js and this file are joined as they are.

const REST = 32; // milliseconds without a new saturation, two frames, before the kernel is asked
const SLOP = 4; // pixels that a hand moves during a click
const MOST_ZOOM = 64;
const ERASER = 2; // of the tools; 0 is none, 1 the brush

/** Where the picture lies on the stage: `zoom` 1 fits; x and y are the middle, as shares of it. */
class Camera {
  constructor(model, stage) {
    this.model = model;
    this.stage = stage;
    [this.zoom, this.x, this.y] = model.get("camera");
  }

  /** Stage pixels of a share of the picture's width and height. */
  toStage(x, y) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    return [
      width / 2 + (x - this.x) * width * this.zoom,
      height / 2 + (y - this.y) * height * this.zoom,
    ];
  }

  /** The share of the picture's width and height under a stage pixel. */
  toPicture(left, top) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    return [
      this.x + (left - width / 2) / (width * this.zoom),
      this.y + (top - height / 2) / (height * this.zoom),
    ];
  }

  zoomTo(zoom, left, top) {
    if (!this.stage.clientWidth) return; // not on the page yet
    const before = this.toPicture(left, top);
    this.zoom = Math.min(Math.max(zoom, 1), MOST_ZOOM);
    const after = this.toPicture(left, top);
    this.x += before[0] - after[0];
    this.y += before[1] - after[1];
    this.stay();
  }

  pan(dx, dy) {
    this.x -= dx / (this.stage.clientWidth * this.zoom);
    this.y -= dy / (this.stage.clientHeight * this.zoom);
    this.stay();
  }

  fit() {
    [this.zoom, this.x, this.y] = [1, 0.5, 0.5];
  }

  /** No empty stage beside the picture. */
  stay() {
    const half = 0.5 / this.zoom;
    this.x = Math.min(Math.max(this.x, half), 1 - half);
    this.y = Math.min(Math.max(this.y, half), 1 - half);
  }

  keep() {
    this.model.set("camera", [this.zoom, this.x, this.y]);
    this.model.save_changes();
  }
}

function element(kind, className, attributes = {}) {
  const made = document.createElement(kind);
  made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function render({ model, el }) {
  // On what has the focus: else the keys are Jupyter's, too, and 0 twice restarts the kernel.
  const focused = { tabindex: "0", "data-lm-suppress-shortcuts": "true" };
  const root = element("div", "napari-colorize-view");
  const stage = element("div", "stage", { role: "group", ...focused });
  stage.setAttribute("aria-label", "Picture in gray and in colour: plus and minus zoom, 0 fits");
  const canvas = element("canvas", "picture");
  const divider = element("div", "divider", {
    role: "slider", ...focused, "aria-label": "Divider between gray and colour",
    "aria-valuemin": "0", "aria-valuemax": "100",
  });
  divider.append(element("span", "grip"));
  const busy = element("div", "busy");
  busy.append(element("span", "done"));
  const tools = element("div", "tools");
  for (const [name, label, title] of [
    ["out", "−", "Smaller"], ["in", "+", "Larger"], ["fit", "⤢", "The whole picture"],
  ]) {
    const button = element("button", name, { type: "button", title, "aria-label": title });
    button.textContent = label;
    tools.append(button);
  }
  stage.append(canvas, divider, busy, tools);
  root.append(stage);
  el.append(root);

  const picture = new Picture(model);
  const paint = new Paint(model, schedule);
  const camera = new Camera(model, stage);
  const context = canvas.getContext("2d");
  let overlay = null;
  let frame = 0;
  let resting = 0;
  let hand = null; // where the mouse or a finger is on the stage

  // What is drawn

  function draw() {
    frame = 0;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(stage.clientWidth * ratio);
    const height = Math.round(stage.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
    }
    context.clearRect(0, 0, width, height);
    const share = model.get("divider");
    const edge = Math.round(share * width);
    if (picture.after) {
      part(picture.after.canvas, edge, width - edge, ratio);
      part(picture.before.canvas, 0, edge, ratio);
    } else if (picture.before) {
      part(picture.before.canvas, 0, width, ratio);
    }
    if (overlay) {
      context.globalAlpha = model.get("opacity");
      part(overlay, 0, width, ratio, true);
      context.globalAlpha = 1;
    }
    drawPaint(edge, ratio);
    drawMark(ratio);
    divider.hidden = !picture.after;
    divider.style.left = `${100 * share}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * share));
    root.dataset.exact = picture.isExact;
    root.dataset.unsent = paint.isUnsent;
    root.dataset.pending = paint.isPending;
  }

  /** A picture as the camera sees it, in some columns of the canvas. */
  function part(source, left, columns, ratio, isSmooth = false) {
    if (columns <= 0) return;
    const [x, y] = camera.toStage(0, 0);
    const [right, bottom] = camera.toStage(1, 1);
    context.save();
    context.beginPath();
    context.rect(left, 0, columns, canvas.height);
    context.clip();
    context.imageSmoothingEnabled = isSmooth || (right - x) * ratio < 2 * source.width;
    context.drawImage(source, x * ratio, y * ratio, (right - x) * ratio, (bottom - y) * ratio);
    context.restore();
  }

  /** Strokes lie over the gray; over the colours only until these show them, or to be erased. */
  function drawPaint(edge, ratio) {
    const tool = model.get("tool");
    if (!tool || !paint.layer) return;
    const isOverAll = paint.isPending || tool === ERASER || !picture.after;
    part(paint.layer.canvas, 0, isOverAll ? canvas.width : edge, ratio);
    if (hand) ring(...hand, model.get("brush") / 2, ratio);
  }

  function drawMark(ratio) {
    const mark = model.get("mark");
    if (!mark.length) return;
    const [left, top] = camera.toStage(mark[1], mark[0]);
    ring(left, top, 9, ratio);
    ring(left, top, 1, ratio);
  }

  /** Black in white: seen on anything. */
  function ring(left, top, radius, ratio) {
    for (const [color, line] of [["#000a", 4], ["#fff", 2]]) {
      context.beginPath();
      context.arc(left * ratio, top * ratio, radius * ratio, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth] = [color, line * ratio];
      context.stroke();
    }
  }

  function schedule() {
    frame ||= requestAnimationFrame(draw);
  }

  // What the model says

  function read() {
    const [height, width] = model.get("size");
    root.classList.toggle("empty", !height);
    stage.style.setProperty("--ratio", height ? width / height : 1.5);
    picture.read();
    paint.settle();
    readPaint();
    schedule();
    rest();
  }

  function readPaint() {
    if (model.get("tool")) paint.read().then(schedule);
  }

  function saturate() {
    picture.compose();
    schedule();
    rest();
  }

  /** Ask for the exact picture as soon as nothing moves any more. */
  function rest() {
    clearTimeout(resting);
    if (!picture.before) return;
    resting = setTimeout(() => {
      const [serial, saturation] = [model.get("serial"), model.get("saturation")];
      model.send({ kind: "rest", serial, saturation });
    }, REST);
  }

  function hear(message, buffers) {
    if (message.kind !== "exact" || message.serial !== model.get("serial")) return;
    if (picture.parts && message.saturation !== model.get("saturation")) return;
    const { buffer, byteOffset, byteLength } = buffers[0];
    picture.take(new Uint8Array(buffer, byteOffset, byteLength));
    schedule();
  }

  function lay() {
    const [height, width] = model.get("overlay_size");
    overlay = null;
    if (height && width) {
      const layer = new Layer([height, width]);
      layer.image.data.set(new Uint8Array(bytesOf(model.get("overlay"))));
      layer.show();
      overlay = layer.canvas;
    }
    schedule();
  }

  function tell() {
    const progress = model.get("progress");
    busy.hidden = progress === null;
    busy.classList.toggle("unknown", progress !== null && progress < 0);
    busy.firstChild.style.width = progress > 0 ? `${100 * progress}%` : "";
    root.classList.toggle("asks", model.get("asks"));
  }

  function take() {
    root.classList.toggle("paints", model.get("tool") > 0);
    readPaint();
    schedule();
  }

  const heard = {
    "change:serial": read,
    "change:saturation": saturate,
    "change:overlay_serial": lay,
    "change:mark": schedule,
    "change:divider": schedule,
    "change:progress": tell,
    "change:asks": tell,
    "change:tool": take,
    "change:brush": schedule,
    "change:paint": readPaint,
    "msg:custom": hear,
  };
  for (const [event, slot] of Object.entries(heard)) model.on(event, slot);

  // What hands do

  const fingers = new Map();
  let gesture = null;

  function place(event) {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  function divide(share) {
    model.set("divider", Math.min(Math.max(share, 0), 1));
    schedule();
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest(".tools")) return;
    fingers.set(event.pointerId, place(event));
    stage.setPointerCapture(event.pointerId);
    const onDivider = divider.contains(event.target);
    gesture = { divides: onDivider || camera.zoom === 1, moved: onDivider, from: place(event) };
    if (onDivider) divider.focus({ preventScroll: true });
    else if (model.get("tool")) gesture = touch(event);
    if (fingers.size === 2) gesture = { pinch: spread(), moved: true };
  });

  /** The brush comes down: it paints, or with Alt takes up a colour. */
  function touch(event) {
    const at = inPicture(place(event));
    const isInside = at.every((value, axis) => value >= 0 && value < picture.size[1 - axis]);
    if (event.altKey && isInside) {
      model.set("ink", picture.colorAt(...at));
      model.save_changes();
    } else if (!event.altKey) {
      hand = place(event);
      model.set("stroke", model.get("stroke") + 1);
      dab(hand, hand);
    }
    return { paints: !event.altKey, moved: true };
  }

  function dab(from, to) {
    const radius = (model.get("brush") / 2 / (stage.clientWidth * camera.zoom)) * picture.size[1];
    const color = model.get("tool") === ERASER ? null : model.get("ink");
    paint.stroke(inPicture(from), inPicture(to), radius, color);
    schedule();
  }

  function inPicture(at) {
    const [x, y] = camera.toPicture(...at);
    return [x * picture.size[1], y * picture.size[0]];
  }

  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    const now = place(event);
    if (model.get("tool")) {
      hand = event.target.closest(".tools, .divider") ? null : now;
      schedule();
    }
    if (!before || !gesture) return;
    if (!gesture.moved && Math.hypot(now[0] - gesture.from[0], now[1] - gesture.from[1]) <= SLOP) {
      return;
    }
    gesture.moved = true;
    fingers.set(event.pointerId, now);
    if (gesture.pinch) {
      const [middle, width] = spread();
      camera.zoomTo((camera.zoom * width) / gesture.pinch[1], ...gesture.pinch[0]);
      camera.pan(middle[0] - gesture.pinch[0][0], middle[1] - gesture.pinch[0][1]);
      gesture.pinch = [middle, width];
    } else if (gesture.paints) {
      dab(before, now);
    } else if (gesture.divides) {
      divide(now[0] / stage.clientWidth);
    } else {
      camera.pan(now[0] - before[0], now[1] - before[1]);
    }
    schedule();
  });

  function release(event) {
    if (!fingers.delete(event.pointerId) || fingers.size) return;
    if (gesture && !gesture.moved && event.type === "pointerup") click(gesture.from);
    if (!gesture?.paints) camera.keep();
    gesture = null;
  }
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("pointerleave", () => {
    hand = null;
    schedule();
  });

  /** The middle of two fingers and how far they are apart. */
  function spread() {
    const [[left, top], [right, bottom]] = [...fingers.values()];
    return [
      [(left + right) / 2, (top + bottom) / 2], Math.hypot(right - left, bottom - top) || 1,
    ];
  }

  function click(at) {
    const [x, y] = camera.toPicture(...at);
    if (model.get("asks")) model.send({ kind: "click", point: [y, x] });
  }

  function zoomBy(factor, at) {
    at ??= [stage.clientWidth / 2, stage.clientHeight / 2];
    camera.zoomTo(camera.zoom * factor, ...at);
    stage.classList.toggle("zoomed", camera.zoom > 1);
    schedule();
  }

  function fit() {
    camera.fit();
    zoomBy(1);
  }

  stage.addEventListener("dblclick", (event) => {
    if (event.target.closest(".tools, .divider") || model.get("asks") || model.get("tool")) return;
    if (camera.zoom > 1) fit();
    else zoomBy(4, place(event));
    camera.keep();
  });
  // A wheel alone scrolls the page, as everywhere; with Ctrl, or two fingers on a pad, it zooms.
  stage.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / 200), place(event));
      camera.keep();
    },
    { passive: false },
  );
  tools.addEventListener("click", (event) => {
    const name = event.target.className;
    if (name === "fit") fit();
    else zoomBy(name === "in" ? 1.5 : 1 / 1.5);
    camera.keep();
  });

  divider.addEventListener("keydown", (event) => {
    const share = model.get("divider");
    const step = event.shiftKey ? 0.1 : 0.02;
    const moves = {
      ArrowLeft: share - step, ArrowDown: share - step, ArrowRight: share + step,
      ArrowUp: share + step, Home: 0, End: 1,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    divide(moves[event.key]);
    model.save_changes();
  });
  stage.addEventListener("keydown", (event) => {
    const step = 40;
    const actions = {
      "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: fit,
      ArrowLeft: () => camera.pan(step, 0), ArrowRight: () => camera.pan(-step, 0),
      ArrowUp: () => camera.pan(0, step), ArrowDown: () => camera.pan(0, -step),
    };
    if (event.target !== stage || !(event.key in actions) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    actions[event.key]();
    camera.keep();
    schedule();
  });

  const watcher = new ResizeObserver(schedule);
  watcher.observe(stage);
  read();
  lay();
  tell();
  take();
  zoomBy(1);
  model.send({ kind: "shown" });

  return () => {
    model.send({ kind: "gone" });
    watcher.disconnect();
    clearTimeout(resting);
    cancelAnimationFrame(frame);
    for (const [event, slot] of Object.entries(heard)) model.off(event, slot);
  };
}

export default { render };
