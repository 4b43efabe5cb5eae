// What concerns the page around the image: files that are dropped or pasted, downloads, the
// clipboard, full screen, and names of the controls for screen readers.

const PAGE = Math.random().toString(36).slice(2); // identifies this page until it is loaded again
const PIECE = 2 ** 21; // bytes; a message to the kernel must not exceed 10 MB
const delivered = new Set(); // of messages that concern the page, handled by one of its views

/** Send a file to the kernel in pieces. */
async function sendFile(model, file) {
  const id = `${PAGE}-${Math.random()}`;
  for (let start = 0; start === 0 || start < file.size; start += PIECE) {
    const piece = await file.slice(start, start + PIECE).arrayBuffer();
    const last = start + PIECE >= file.size;
    model.send({ kind: "file", id, name: file.name, first: start === 0, last }, undefined, [piece]);
  }
}

/** Text and button that are shown while there is no image. */
function createInvitation(onFile) {
  const invitation = createElement("div", "invitation");
  const input = createElement("input", "file", {
    type: "file", accept: "image/*,.tif,.tiff,.dcm", tabindex: "-1", "aria-hidden": "true",
  });
  input.hidden = true;
  const button = createElement("button", "choose", { type: "button" });
  button.textContent = "Upload an image";
  const text = createElement("p", "");
  text.textContent = "or drop a file here, or paste an image.";
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) onFile(input.files[0]);
    input.value = "";
  });
  invitation.append(button, input, text);
  return invitation;
}

/** Call `onFile` for a file dropped on the view, or pasted while its box has the focus. */
function acceptFiles(root, onFile) {
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  function onDrag(event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    root.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop" && event.dataTransfer.files.length) onFile(event.dataTransfer.files[0]);
  }
  for (const name of ["dragover", "dragleave", "drop"]) root.addEventListener(name, onDrag);
  function onPaste(event) {
    const box = root.closest(".napari-colorize-box") ?? root;
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file || !box.contains(document.activeElement)) return;
    event.preventDefault();
    event.stopPropagation();
    onFile(file);
  }
  document.addEventListener("paste", onPaste, true);
  return () => document.removeEventListener("paste", onPaste, true);
}

/** Download a file, or copy a text, once for all views of the page. */
function deliver(message, buffers) {
  if (delivered.has(message.once)) return;
  delivered.add(message.once);
  if (message.kind === "download") download(message.name, buffers[0]);
  else copyText(message.text);
}

function download(name, bytes) {
  const link = createElement("a", "", { download: name });
  link.href = URL.createObjectURL(new Blob([bytes]));
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages without TLS have no clipboard object; some browsers refuse it without a click.
    const area = createElement("textarea", "");
    area.value = text;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    focused?.focus();
  }
}

function toggleFullScreen(root) {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen?.();
}

/** Give each control of a box the name of its row, and each button its tooltip, for screen readers.
 *
 * ipywidgets has no accessible name for a control whose label is a widget of its own.
 */
function nameControls(box) {
  if (!box) return () => {};
  function setName(element, name) {
    if (name && element.getAttribute("aria-label") !== name) element.setAttribute("aria-label", name);
  }
  function update() {
    for (const label of box.querySelectorAll(".setting-label")) {
      const name = label.textContent.trim();
      const controls = label.parentElement.querySelectorAll(
        "input:not([type=file]), select, textarea, .noUi-handle, .widget-readout",
      );
      controls.forEach((control, index) => setName(control, index ? `${name} ${index + 1}` : name));
    }
    for (const readout of box.querySelectorAll(".widget-readout")) {
      readout.setAttribute("role", "textbox");
    }
    for (const button of box.querySelectorAll(".icon-only, .swatch")) setName(button, button.title);
    for (const image of box.querySelectorAll("img:not([alt])")) image.alt = image.title;
    for (const input of box.querySelectorAll("input[type=file]")) {
      setName(input, "File");
      input.tabIndex = -1; // its button has the focus
    }
  }
  const observer = new MutationObserver(update);
  observer.observe(box, { childList: true, subtree: true });
  update();
  return () => observer.disconnect();
}
