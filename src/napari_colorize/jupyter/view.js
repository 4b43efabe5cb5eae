// The view: an image before and after colorization, with a divider, zoom, pan and a brush.
//
// Gray and chroma are sent once for each prediction. The browser composes the image from them, so
// that it follows the saturation slider without the kernel. When the slider stops, the view requests
// the exact pixels from the kernel and displays those. Plain ESM for anywidget, without a build
// step: compose.js, image.js, paint.js, camera.js, page.js, compact.js and this file are
// concatenated.

const EXACT_DELAY = 32; // ms (two frames) without a change before exact pixels are requested
const CROP_DELAY = 120; // ms without a change before the visible part is requested
const CLICK_TOLERANCE = 4; // px of movement during a click
const ERASER = 2; // number of the tool; 0 is the divider, 1 the brush

let viewCount = 0; // of this page

function createElement(tag, className, attributes = {}) {
  const element = document.createElement(tag);
  element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function render({ model, el }) {
  // Without this attribute Jupyter also handles the keys, and 0 twice restarts the kernel.
  const focused = { tabindex: "0", "data-lm-suppress-shortcuts": "true" };
  const root = createElement("div", "napari-colorize-view");
  const stage = createElement("div", "stage", { role: "group", ...focused });
  stage.setAttribute("aria-label", "Image in grayscale and color: plus and minus zoom, 0 fits");
  const canvas = createElement("canvas", "image");
  const divider = createElement("div", "divider", {
    role: "slider", ...focused, "aria-label": "Divider between grayscale and color",
    "aria-valuemin": "0", "aria-valuemax": "100",
  });
  divider.append(createElement("span", "grip"));
  const busy = createElement("div", "busy");
  busy.append(createElement("span", "done"));
  const tools = createElement("div", "tools");
  for (const [name, label, title] of [
    ["out", "−", "Zoom out"], ["in", "+", "Zoom in"], ["fit", "⤢", "Fit"],
    ["full", "", "Full screen"],
  ]) {
    const button = createElement("button", name, { type: "button", title, "aria-label": title });
    button.textContent = label;
    tools.append(button);
  }
  const readout = createElement("div", "readout", { "aria-hidden": "true" });
  readout.hidden = true;
  const invitation = createInvitation((file) => sendFile(model, file));
  stage.append(canvas, divider, busy, tools, readout, invitation);
  root.append(stage);
  const controls = model.get("has_controls") ? addControls(model, root) : {};
  el.append(root);

  const image = new DisplayedImage(model);
  const paint = new Paint(model, scheduleDraw);
  const camera = new Camera(model, stage);
  const context = canvas.getContext("2d");
  let overlay = null;
  let frame = 0;
  let exactTimer = 0;
  let cropTimer = 0;
  let isResultScheduled = false;
  let pointer = null; // position of the mouse or a finger on the stage

  const identity = { page: PAGE, view: String(viewCount++) };
  const stopAccepting = acceptFiles(root, (file) => sendFile(model, file));
  let stopLabeling = null;

  // Drawing

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
    const position = model.get("divider");
    const edge = Math.round(position * width);
    if (image.after) {
      drawLayer(image.after.canvas, edge, width - edge, ratio);
      drawLayer(image.before.canvas, 0, edge, ratio);
      if (image.crop) {
        drawLayer(image.crop.after, edge, width - edge, ratio, false, image.crop.area);
        drawLayer(image.crop.before, 0, edge, ratio, false, image.crop.area);
      }
    } else if (image.before) {
      drawLayer(image.before.canvas, 0, width, ratio);
    }
    if (overlay) {
      context.globalAlpha = model.get("opacity");
      drawLayer(overlay, 0, width, ratio, true);
      context.globalAlpha = 1;
    }
    drawPaint(edge, ratio);
    drawMarker(ratio);
    divider.hidden = !image.after;
    divider.style.left = `${100 * position}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * position));
    root.dataset.exact = image.isExact;
    root.dataset.crop = Boolean(image.crop);
    root.dataset.unsent = paint.isUnsent;
    root.dataset.pending = paint.isPending;
  }

  /** Draw an image through the camera, clipped to some columns of the canvas. */
  function drawLayer(source, left, columns, ratio, isSmooth = false, area = [0, 0, 1, 1]) {
    if (columns <= 0) return;
    const [x, y] = camera.toStage(area[1], area[0]);
    const [right, bottom] = camera.toStage(area[3], area[2]);
    context.save();
    context.beginPath();
    context.rect(left, 0, columns, canvas.height);
    context.clip();
    context.imageSmoothingEnabled = isSmooth || (right - x) * ratio < 2 * source.width;
    context.drawImage(source, x * ratio, y * ratio, (right - x) * ratio, (bottom - y) * ratio);
    context.restore();
  }

  /** Draw strokes over grayscale; over color only until the colors contain them, or to erase. */
  function drawPaint(edge, ratio) {
    const tool = model.get("tool");
    if (!tool || !paint.layer) return;
    const coversAll = paint.isPending || tool === ERASER || !image.after;
    drawLayer(paint.layer.canvas, 0, coversAll ? canvas.width : edge, ratio);
    if (pointer) drawRing(...pointer, model.get("brush_size") / 2, ratio);
  }

  function drawMarker(ratio) {
    const marker = model.get("marker");
    if (!marker.length) return;
    const [left, top] = camera.toStage(marker[1], marker[0]);
    drawRing(left, top, 9, ratio);
    drawRing(left, top, 1, ratio);
  }

  /** White on black, visible on any background. */
  function drawRing(left, top, radius, ratio) {
    for (const [color, line] of [["#000a", 4], ["#fff", 2]]) {
      context.beginPath();
      context.arc(left * ratio, top * ratio, radius * ratio, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth] = [color, line * ratio];
      context.stroke();
    }
  }

  function scheduleDraw() {
    frame ||= requestAnimationFrame(draw);
  }

  // Changes of the model

  /** Read a result when all of its values have arrived: some hosts set them one after another. */
  function scheduleResult() {
    if (isResultScheduled) return;
    isResultScheduled = true;
    queueMicrotask(onResult);
  }

  function onResult() {
    isResultScheduled = false;
    const [height, width] = model.get("size");
    root.classList.toggle("empty", !height);
    stage.style.setProperty("--ratio", height ? width / height : 1.5);
    image.read();
    paint.markApplied();
    readPaint();
    scheduleDraw();
    requestExact();
  }

  function readPaint() {
    if (model.get("tool")) paint.read().then(scheduleDraw);
  }

  function onSaturation() {
    image.compose();
    scheduleDraw();
    requestExact();
    requestCrop();
  }

  /** Request the visible part at full resolution if more of it can be seen than was sent. */
  function requestCrop() {
    clearTimeout(cropTimer);
    if (!image.before || !stage.clientWidth) return;
    const visible = camera.visible();
    const shown = [0, 1].map((axis) => (visible[axis + 2] - visible[axis]) * image.size[axis]);
    const full = model.get("image_size");
    const device = [stage.clientHeight, stage.clientWidth].map((side) => side * devicePixelRatio);
    const isReduced = image.size[0] < full[0] || image.size[1] < full[1];
    if (!isReduced || (shown[0] >= device[0] && shown[1] >= device[1])) return;
    if (image.crop?.area.every((edge, at) => (at < 2 ? edge <= visible[at] : edge >= visible[at])) &&
        image.crop.zoom >= camera.zoom) return;
    cropTimer = setTimeout(() => {
      const [serial, saturation] = [model.get("serial"), model.get("saturation")];
      model.send({ kind: "request_crop", serial, saturation, area: visible, zoom: camera.zoom });
    }, CROP_DELAY);
  }

  /** Request the exact pixels when nothing has changed for a moment. */
  function requestExact() {
    clearTimeout(exactTimer);
    if (!image.before) return;
    exactTimer = setTimeout(() => {
      const [serial, saturation] = [model.get("serial"), model.get("saturation")];
      model.send({ kind: "request_exact", serial, saturation });
    }, EXACT_DELAY);
  }

  function onMessage(message, buffers) {
    if (message.kind === "roll_call") model.send({ kind: "attached", answers: true, ...identity });
    if (message.kind === "download" || message.kind === "copy") deliver(message, buffers);
    if (message.kind === "crop") onCrop(message, buffers);
    if (message.kind !== "exact" || message.serial !== model.get("serial")) return;
    if (image.parts && message.saturation !== model.get("saturation")) return;
    const { buffer, byteOffset, byteLength } = buffers[0];
    image.setExact(new Uint8Array(buffer, byteOffset, byteLength));
    scheduleDraw();
    requestCrop();
  }

  function onCrop(message, buffers) {
    if (message.serial !== model.get("serial")) return;
    if (image.parts && message.saturation !== model.get("saturation")) return;
    image.setCrop(message, ...buffers.map((data) => new Uint8Array(bytesOf(data))));
    scheduleDraw();
  }

  function onOverlay() {
    const [height, width] = model.get("overlay_size");
    overlay = null;
    if (height && width) {
      const layer = new Layer([height, width]);
      layer.image.data.set(new Uint8Array(bytesOf(model.get("overlay"))));
      layer.update();
      overlay = layer.canvas;
    }
    scheduleDraw();
  }

  function onStatus() {
    const progress = model.get("progress");
    busy.hidden = progress === null;
    busy.classList.toggle("unknown", progress !== null && progress < 0);
    busy.firstChild.style.width = progress > 0 ? `${100 * progress}%` : "";
    root.classList.toggle("picking", model.get("emits_clicks"));
  }

  function onTool() {
    root.classList.toggle("painting", model.get("tool") > 0);
    readPaint();
    scheduleDraw();
  }

  const listeners = {
    "change:serial": scheduleResult,
    "change:saturation": onSaturation,
    "change:overlay_serial": onOverlay,
    "change:marker": scheduleDraw,
    "change:divider": scheduleDraw,
    "change:progress": onStatus,
    "change:emits_clicks": onStatus,
    "change:tool": onTool,
    "change:brush_size": scheduleDraw,
    "change:paint": readPaint,
    "msg:custom": onMessage,
  };
  for (const [event, listener] of Object.entries(controls)) model.on(event, listener);
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);

  // Mouse, touch and keys

  const pointers = new Map(); // pressed, by id: their positions
  let gesture = null;

  function positionOf(event) {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  function moveDivider(position) {
    model.set("divider", Math.min(Math.max(position, 0), 1));
    scheduleDraw();
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest(".tools, .invitation")) return;
    pointers.set(event.pointerId, positionOf(event));
    stage.setPointerCapture(event.pointerId);
    const onDivider = divider.contains(event.target);
    gesture = { divides: onDivider || camera.zoom === 1, moved: onDivider, from: positionOf(event) };
    if (onDivider) divider.focus({ preventScroll: true });
    else if (model.get("tool")) gesture = startStroke(event);
    if (pointers.size === 2) gesture = { pinch: pinchOf(), moved: true };
  });

  /** Start a stroke, or pick a color from the image if Alt is pressed. */
  function startStroke(event) {
    const at = toPixels(positionOf(event));
    const isInside = at.every((value, axis) => value >= 0 && value < image.size[1 - axis]);
    if (event.altKey && isInside) {
      model.set("brush_color", image.colorAt(...at));
      model.save_changes();
    } else if (!event.altKey) {
      pointer = positionOf(event);
      model.set("stroke_count", model.get("stroke_count") + 1);
      paintLine(pointer, pointer);
    }
    return { paints: !event.altKey, moved: true };
  }

  function paintLine(from, to) {
    const radius = (model.get("brush_size") / 2 / (stage.clientWidth * camera.zoom)) * image.size[1];
    const color = model.get("tool") === ERASER ? null : model.get("brush_color");
    paint.stroke(toPixels(from), toPixels(to), radius, color);
    scheduleDraw();
  }

  function toPixels(at) {
    const [x, y] = camera.toImage(...at);
    return [x * image.size[1], y * image.size[0]];
  }

  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    const now = positionOf(event);
    showReadout(event.target.closest(".tools") ? null : now);
    if (model.get("tool")) {
      pointer = event.target.closest(".tools, .divider") ? null : now;
      scheduleDraw();
    }
    if (!before || !gesture) return;
    if (!gesture.moved && Math.hypot(now[0] - gesture.from[0], now[1] - gesture.from[1]) <= CLICK_TOLERANCE) {
      return;
    }
    gesture.moved = true;
    pointers.set(event.pointerId, now);
    if (gesture.pinch) {
      const [middle, width] = pinchOf();
      camera.zoomTo((camera.zoom * width) / gesture.pinch[1], ...gesture.pinch[0]);
      camera.pan(middle[0] - gesture.pinch[0][0], middle[1] - gesture.pinch[0][1]);
      gesture.pinch = [middle, width];
    } else if (gesture.paints) {
      paintLine(before, now);
    } else if (gesture.divides) {
      moveDivider(now[0] / stage.clientWidth);
    } else {
      camera.pan(now[0] - before[0], now[1] - before[1]);
    }
    scheduleDraw();
  });

  /** Position, gray and color of the pixel at a stage position; null hides them. */
  function showReadout(at) {
    const [x, y] = at && image.before ? toPixels(at) : [-1, -1];
    const isInside = x >= 0 && y >= 0 && x < image.size[1] && y < image.size[0];
    readout.hidden = !isInside;
    if (!isInside) return;
    const full = model.get("image_size");
    const row = Math.floor((y / image.size[0]) * full[0]);
    const column = Math.floor((x / image.size[1]) * full[1]);
    const color = image.after ? `, RGB ${image.rgbAt(x, y).join(" ")}` : "";
    readout.textContent = `row ${row}, column ${column}: gray ${image.grayAt(x, y)}${color}`;
  }

  function release(event) {
    if (!pointers.delete(event.pointerId) || pointers.size) return;
    if (gesture && !gesture.moved && event.type === "pointerup") click(gesture.from);
    if (!gesture?.paints) camera.save();
    requestCrop();
    gesture = null;
  }
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("pointerleave", () => {
    pointer = null;
    showReadout(null);
    scheduleDraw();
  });

  /** Center of two fingers and the distance between them. */
  function pinchOf() {
    const [[left, top], [right, bottom]] = [...pointers.values()];
    return [
      [(left + right) / 2, (top + bottom) / 2], Math.hypot(right - left, bottom - top) || 1,
    ];
  }

  function click(at) {
    const [x, y] = camera.toImage(...at);
    if (model.get("emits_clicks")) model.send({ kind: "click", point: [y, x] });
  }

  function zoomBy(factor, at) {
    at ??= [stage.clientWidth / 2, stage.clientHeight / 2];
    camera.zoomTo(camera.zoom * factor, ...at);
    stage.classList.toggle("zoomed", camera.zoom > 1);
    scheduleDraw();
    requestCrop();
  }

  function fit() {
    camera.fit();
    zoomBy(1);
  }

  stage.addEventListener("dblclick", (event) => {
    if (event.target.closest(".tools, .divider") || model.get("emits_clicks") || model.get("tool")) return;
    if (camera.zoom > 1) fit();
    else zoomBy(4, positionOf(event));
    camera.save();
  });
  // The wheel alone scrolls the page. With Ctrl, or as a pinch on a touchpad, it zooms.
  stage.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / 200), positionOf(event));
      camera.save();
    },
    { passive: false },
  );
  tools.addEventListener("click", (event) => {
    const name = event.target.closest("button")?.className;
    if (name === "full") toggleFullScreen(root);
    else if (name === "fit") fit();
    else if (name === "in" || name === "out") zoomBy(name === "in" ? 1.5 : 1 / 1.5);
    camera.save();
  });

  divider.addEventListener("keydown", (event) => {
    const position = model.get("divider");
    const step = event.shiftKey ? 0.1 : 0.02;
    const moves = {
      ArrowLeft: position - step, ArrowDown: position - step, ArrowRight: position + step,
      ArrowUp: position + step, Home: 0, End: 1,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    moveDivider(moves[event.key]);
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
    camera.save();
    scheduleDraw();
    requestCrop();
  });

  const resizeObserver = new ResizeObserver(() => {
    // The view is in the page only now, so that its box is found.
    stopLabeling ??= nameControls(root.closest(".napari-colorize-box"));
    scheduleDraw();
    requestCrop();
  });
  resizeObserver.observe(stage);
  onResult();
  onOverlay();
  onStatus();
  onTool();
  zoomBy(1);
  model.send({ kind: "attached", ...identity });
  const onPageHide = () => model.send({ kind: "detached", ...identity });
  window.addEventListener("pagehide", onPageHide);

  return () => {
    model.send({ kind: "detached", ...identity });
    window.removeEventListener("pagehide", onPageHide);
    stopAccepting();
    stopLabeling?.();
    resizeObserver.disconnect();
    clearTimeout(exactTimer);
    clearTimeout(cropTimer);
    cancelAnimationFrame(frame);
    for (const [event, listener] of [...Object.entries(listeners), ...Object.entries(controls)]) {
      model.off(event, listener);
    }
  };
}

export default { render };
