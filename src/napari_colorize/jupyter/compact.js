// Controls of a view that stands alone (`ColorizeView`), in hosts without the widgets of a box.

const CONTROLS = [
  ["saturation", "Saturation", { type: "range", min: 0, max: 4, step: 0.05 }],
  ["render_factor", "Render factor", { type: "number", min: 1, max: 100, step: 1 }],
  ["self_attention", "Self-attention", { type: "checkbox" }],
];

/** Add the controls below the image; returns the listeners that show changes of the model. */
function addControls(model, root) {
  const form = createElement("div", "controls");
  const message = createElement("p", "message", { role: "status" });
  const listeners = {};
  for (const [name, title, attributes] of CONTROLS) {
    const label = createElement("label", "");
    const input = createElement("input", name, attributes);
    const key = attributes.type === "checkbox" ? "checked" : "value";
    const update = () => {
      input[key] = model.get(name);
    };
    // While a slider is dragged the browser composes; a number counts when it is complete.
    input.addEventListener(attributes.type === "range" ? "input" : "change", () => {
      if (!input.checkValidity() || input.value === "") return update();
      model.set(name, key === "checked" ? input.checked : Number(input.value));
      model.save_changes();
    });
    label.append(`${title} `, input);
    form.append(label);
    listeners[`change:${name}`] = update;
    update();
  }
  listeners["change:message"] = () => {
    message.textContent = model.get("message");
  };
  listeners["change:message"]();
  root.append(form, message);
  return listeners;
}
