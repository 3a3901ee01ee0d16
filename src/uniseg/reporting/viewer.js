/* The viewer of a page: unpacks NiiVue and the cases that the page holds, shows one case at a time. */
"use strict";
(() => {
  const panel = document.getElementById("viewer");
  const cases = JSON.parse(document.getElementById("viewer-cases").textContent);
  const part = (name) => panel.querySelector(`[data-part="${name}"]`);
  const state = { case: 0, scan: 0, task: 0, shown: "differences", hidden: new Set(), maps: {} };
  const AGREED = [90, 200, 120], EXTRA = [255, 90, 90], MISSED = [255, 210, 60], OTHER = [190, 120, 255];
  const DIFFERENCES = [
    { value: 1, name: "both, the same class", colour: AGREED },
    { value: 2, name: "prediction alone", colour: EXTRA },
    { value: 3, name: "reference alone: missed", colour: MISSED },
    { value: 4, name: "both, another class", colour: OTHER },
  ];
  const HEADER = 352;  // bytes of a NIfTI file before its voxels
  let nv = null, starting = null, overlay = null;

  const isSupported = () => {
    const canvas = document.createElement("canvas");
    return typeof DecompressionStream !== "undefined" && canvas.getContext("webgl2") !== null;
  };
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const rgb = (colour) => `rgb(${colour.join(",")})`;
  const say = (text) => { part("status").textContent = text; };

  async function unpack(id) {
    const text = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  async function loadLibrary() {
    const code = new TextDecoder().decode(await unpack("viewer-library"));
    const script = element("script", { type: "module", textContent: code });
    document.head.append(script);  // an inline module runs after the current task
    for (let wait = 0; globalThis.Niivue === undefined && wait < 500; wait++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (globalThis.Niivue === undefined) throw new Error("the browser did not run the viewer's script");
    script.remove();
  }

  async function start() {
    say("starting");
    await loadLibrary();
    nv = new globalThis.Niivue({
      logLevel: "error",
      isRadiologicalConvention: true,
      dragAndDropEnabled: false,
      multiplanarShowRender: 1,
      multiplanarLayout: 2,
      sagittalNoseLeft: true,
      crosshairWidth: 0.3,
      crosshairWidthUnit: "percent",
      crosshairColor: [1, 1, 1, 0.6],
      backColor: [0.063, 0.078, 0.094, 1],
      show3Dcrosshair: false,
    });
    nv.onLocationChange = showLocation;
    await nv.attachToCanvas(part("canvas"), false);
    panel.niivue = nv;
  }

  const task = () => cases[state.case].tasks[state.task] ?? { name: "", classes: [] };
  const listed = () => (state.shown === "differences" ? DIFFERENCES : task().classes);
  const key = (row) => `${state.shown === "differences" ? "differences" : task().name}/${row.name}`;

  /* The scan, then one overlay, into which the label maps of task and choice are written. */
  async function showCase() {
    const chosen = cases[state.case];
    say("loading");
    panel.dataset.state = "loading";
    while (nv.volumes.length) nv.removeVolumeByIndex(0);
    state.maps = {};
    const scan = chosen.scans[state.scan];
    await nv.loadFromArrayBuffer(await unpack(`viewer-${state.case}-${scan.data}`), "scan.nii");
    [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = scan.window;
    overlay = null;
    if (chosen.tasks.length) {
      const maps = await mapsOf(state.task);
      const buffer = (maps.prediction ?? maps.reference).buffer.slice(0);
      await nv.loadFromArrayBuffer(buffer, "labels.nii");
      overlay = nv.volumes[1];
    }
    await nv.setVolumeRenderIllumination(0.4);
    await showTask(true);
    panel.dataset.state = "ready";
  }

  async function mapsOf(index) {
    const { prediction, reference } = cases[state.case].tasks[index];
    const read = async (data) => {
      const buffer = await unpack(`viewer-${state.case}-${data}`);
      const isWide = new DataView(buffer).getInt16(70, true) === 512;  // NIfTI's datatype uint16
      const values = isWide ? new Uint16Array(buffer, HEADER) : new Uint8Array(buffer, HEADER);
      return { buffer, values };
    };
    state.maps[index] ??= {
      prediction: prediction === undefined ? null : await read(prediction),
      reference: reference === undefined ? null : await read(reference),
    };
    return state.maps[index];
  }

  async function showTask(goes) {
    part("note").textContent = cases[state.case].note;
    if (overlay) {
      const maps = await mapsOf(state.task);
      const has = { prediction: maps.prediction, reference: maps.reference,
                    differences: maps.prediction && maps.reference };
      if (!has[state.shown]) state.shown = has.prediction ? "prediction" : "reference";
      for (const option of part("shown").options) option.disabled = !has[option.value];
      part("shown").value = state.shown;
      fillLegend();
      drawLabels();
      const first = task().classes[0];
      if (goes && first) goTo(first.mm);
    } else {
      nv.updateGLVolume();
      nv.createOnLocationChange();
    }
    say("");
  }

  function drawLabels() {
    if (!overlay) return;
    const { prediction, reference } = state.maps[state.task];
    const Values = (prediction ?? reference).values.constructor;
    if (state.shown === "differences") {
      const ours = prediction.values, theirs = reference.values, hidden = hiddenClasses();
      const out = new Values(ours.length);
      for (let i = 0; i < out.length; i++) {
        const a = hidden[ours[i]] ? 0 : ours[i], b = hidden[theirs[i]] ? 0 : theirs[i];
        if (a || b) out[i] = a === b ? 1 : !b ? 2 : !a ? 3 : 4;
      }
      overlay.img = out;
    } else {
      overlay.img = { prediction, reference }[state.shown].values;
    }
    const rows = [{ value: 0, name: "", colour: [0, 0, 0] }, ...listed()];
    const alpha = (row) => (row.value === 0 || state.hidden.has(key(row)) ? 0 : 255);
    overlay.setColormapLabel({
      R: rows.map((row) => row.colour[0]), G: rows.map((row) => row.colour[1]), B: rows.map((row) => row.colour[2]),
      A: rows.map(alpha), I: rows.map((row) => row.value), labels: rows.map((row) => row.name),
    });
    overlay.opacity = Number(part("opacity").value);
    nv.overlayOutlineWidth = part("outline").checked ? 0.25 : 0;
    nv.updateGLVolume();
    nv.createOnLocationChange();
  }

  /* By value; differences leave out what is hidden among the task's classes. */
  function hiddenClasses() {
    const hidden = [];
    for (const row of task().classes) hidden[row.value] = state.hidden.has(`${task().name}/${row.name}`);
    return hidden;
  }

  function goTo(mm) {
    nv.scene.crosshairPos = nv.mm2frac(mm);
    nv.drawScene();
    nv.createOnLocationChange();
  }

  function showLocation(place) {
    const [x, y, z] = Array.from(place.mm).slice(0, 3).map((mm) => mm.toFixed(1));
    const [scan, label] = place.values;
    const value = scan ? Number(scan.value.toPrecision(4)) : "";
    const row = overlay && label ? listed().find((each) => each.value === Math.round(label.value)) : undefined;
    part("location").textContent =
      `${x}, ${y}, ${z} mm; ${cases[state.case].scans[state.scan].name} ${value}${row ? `; ${row.name}` : ""}`;
  }

  function fillLegend() {
    const rows = listed().map((row) => {
      const box = element("input", { type: "checkbox", checked: !state.hidden.has(key(row)) });
      box.addEventListener("change", () => {
        state.hidden[box.checked ? "delete" : "add"](key(row));
        drawLabels();
      });
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = rgb(row.colour);
      const shown = element("label", {}, box, swatch);
      if (!row.mm) return element("li", {}, shown, element("span", { textContent: row.name }));
      const name = element("button", { type: "button", textContent: row.name, title: "go there" });
      name.addEventListener("click", () => goTo(row.mm));
      return element("li", {}, shown, name, element("small", { textContent: row.detail }));
    });
    part("legend").replaceChildren(...rows);
  }

  function setAll(isShown) {
    for (const row of listed()) state.hidden[isShown ? "delete" : "add"](key(row));
    fillLegend();
    drawLabels();
  }

  const fill = (select, names, chosen) => {
    select.replaceChildren(...names.map((name, index) => element("option", { value: index, textContent: name })));
    select.value = chosen;
    select.closest("label").hidden = names.length < 2;
  };
  function fillChoices() {
    const chosen = cases[state.case];
    fill(part("case"), cases.map((each) => each.title), state.case);
    fill(part("scan"), chosen.scans.map((each) => each.name), state.scan);
    fill(part("task"), chosen.tasks.map((each) => each.name), state.task);
    const compared = chosen.tasks.some((each) => each.prediction !== undefined && each.reference !== undefined);
    part("shown").closest("label").hidden = !compared;
  }

  async function open(index) {
    Object.assign(state, { case: index, scan: 0, task: 0, shown: "differences" });
    panel.classList.add("open");
    fillChoices();
    await begin();
    await showCase();
  }
  const begin = () => (starting ??= start());

  /* One thing at a time; what fails is said, and the pictures come back. */
  let queue = Promise.resolve();
  const run = (work) => {
    queue = queue.then(work).catch((error) => {
      panel.dataset.state = "failed";
      say(`The viewer failed: ${error.message ?? error}`);
      document.documentElement.classList.add("no-viewer");
    });
    return queue;
  };

  function setLayout(name) {
    const types = { planes: nv.sliceTypeMultiplanar, axial: nv.sliceTypeAxial, coronal: nv.sliceTypeCoronal,
                    sagittal: nv.sliceTypeSagittal, render: nv.sliceTypeRender };
    nv.setSliceType(types[name]);
  }
  function listen() {
    const on = (name, event, work) => part(name).addEventListener(event, (e) => run(() => work(e.target)));
    on("case", "change", (select) => open(Number(select.value)));
    on("scan", "change", (select) => { state.scan = Number(select.value); return showCase(); });
    on("task", "change", (select) => { state.task = Number(select.value); return showTask(true); });
    on("shown", "change", (select) => { state.shown = select.value; return showTask(false); });
    on("layout", "change", (select) => setLayout(select.value));
    on("opacity", "input", drawLabels);
    on("outline", "change", drawLabels);
    on("brightness", "input", (range) => nv.setOpacity(0, Number(range.value)));
    on("all", "click", () => setAll(true));
    on("none", "click", () => setAll(false));
    part("canvas").addEventListener("keydown", (event) => {
      if (event.code !== "Space" || part("shown").closest("label").hidden) return;
      event.preventDefault();
      state.shown = state.shown === "prediction" ? "reference" : "prediction";
      run(() => showTask(false));
    });
  }
  const follow = () => {
    const found = /^#view-(\d+)$/.exec(location.hash);
    if (!found || Number(found[1]) >= cases.length) return;
    panel.scrollIntoView();
    run(() => open(Number(found[1])));
  };

  if (!isSupported()) {
    panel.dataset.state = "unsupported";
    document.documentElement.classList.add("no-viewer");
    say("This browser has no WebGL 2, which the viewer needs; the pictures on this page show the same cases.");
    return;
  }
  document.documentElement.classList.add("has-viewer");
  listen();
  part("start").addEventListener("click", () => run(() => open(0)));
  window.addEventListener("hashchange", follow);
  if (location.hash.startsWith("#view-")) follow();
  else if (panel.dataset.opens === "at once") run(() => open(0));
})();
