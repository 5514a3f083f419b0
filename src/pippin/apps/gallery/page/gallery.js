// Gallery page: a tile in view requests its colours; leaving the view aborts the request and cancels its prediction.

const at = (id) => document.getElementById(id);
const setup = await (await fetch("/setup.json")).json();
const wall = at("wall");
const tiles = new Map(); // element: {number, held, address, inView, asked (AbortController), colour (object URL)}
const state = { mode: "async", shown: "colorized", maxInFlight: setup.cores, since: null, lost: 0 };

// --- the wall

for (const made of setup.tiles) {
  const element = document.createElement("button");
  element.className = "tile";
  element.dataset.number = made.number;
  element.setAttribute("aria-label", made.title);
  const gray = new Image();
  gray.loading = "lazy";
  gray.alt = "";
  gray.src = `/tile/${made.number}/gray.jpg`;
  const colour = new Image();
  colour.className = "colour";
  colour.alt = "";
  element.append(gray, colour);
  if (made.held_out) element.insertAdjacentHTML("beforeend", '<i class="dot" title="Never seen in colour"></i>');
  element.addEventListener("click", () => look(made, tiles.get(element)));
  const address = setup.addresses[made.number % setup.addresses.length];
  tiles.set(element, { ...made, element, image: colour, address, inView: false, asked: null, colour: null });
  wall.append(element);
}

// Preloads the gray tiles further down in small batches, so that a fast scroll finds them loaded.
const ahead = wall.querySelectorAll("img[loading=lazy]").values();
function loadAhead() {
  for (let count = 0; count < 12; count++) {
    const next = ahead.next();
    if (next.done) return;
    next.value.loading = "eager";
  }
  setTimeout(loadAhead, 120);
}
if (document.readyState === "complete") loadAhead();
else addEventListener("load", loadAhead);

// --- requests and cancellation

async function ask(tile) {
  if (tile.asked || tile.colour || state.shown === "original") return;
  const asked = (tile.asked = new AbortController());
  tile.element.classList.add("asked");
  try {
    const answer = await fetch(`http://${tile.address}/tile/${tile.number}/colorized.jpg`, { signal: asked.signal });
    if (!answer.ok) throw new Error(`tile ${tile.number}: ${answer.status} ${answer.statusText}`);
    const file = await answer.blob();
    if (asked.signal.aborted) return;
    tile.colour = URL.createObjectURL(file);
    tile.image.src = tile.colour;
    await tile.image.decode();
    if (tile.colour) tile.element.classList.add("coloured");
  } catch (error) {
    if (!asked.signal.aborted && !(error instanceof TypeError)) console.error(error.message);
  } finally {
    if (tile.asked === asked) {
      tile.asked = null;
      tile.element.classList.remove("asked");
    }
    timeScreen();
  }
}

function cancel(tile) {
  tile.asked?.abort();
  tile.asked = null;
  tile.element.classList.remove("asked");
}

function forget(tile) {
  cancel(tile);
  if (tile.colour) URL.revokeObjectURL(tile.colour);
  tile.colour = null;
  tile.element.classList.remove("coloured");
  tile.image.removeAttribute("src");
}

const eye = new IntersectionObserver((changes) => {
  let came = false;
  for (const { target, isIntersecting } of changes) {
    const tile = tiles.get(target);
    tile.inView = isIntersecting;
    if (isIntersecting) {
      came ||= !tile.colour;
      ask(tile);
    } else if (state.mode === "async") {
      cancel(tile); // the serial design does not support cancellation
    }
  }
  if (came) state.since = performance.now();
  timeScreen();
});
tiles.forEach((_, element) => eye.observe(element));

const inView = () => [...tiles.values()].filter((tile) => tile.inView);

// Measures the time from the newest tile coming into view until all tiles in view are coloured.
function timeScreen() {
  if (state.since === null || state.shown === "original") return;
  const missing = inView().filter((tile) => !tile.colour).length;
  if (missing) return;
  at("on-screen").textContent = seconds((performance.now() - state.since) / 1000);
  at("on-screen").dataset.complete = "yes";
  state.since = null;
}

function runningTime() {
  if (state.since !== null && state.shown === "colorized") {
    at("on-screen").textContent = seconds((performance.now() - state.since) / 1000);
    delete at("on-screen").dataset.complete;
  }
  requestAnimationFrame(runningTime);
}
requestAnimationFrame(runningTime);

function again() {
  tiles.forEach(forget);
  const visible = inView();
  state.since = visible.length ? performance.now() : null;
  visible.forEach(ask);
}

// --- controls

async function control() {
  tiles.forEach(forget);
  at("flow").classList.toggle("off", state.mode === "serial");
  at("max-in-flight").disabled = state.mode === "serial";
  document.body.dataset.busy = "yes";
  const answer = await fetch("/control", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ mode: state.mode, max_in_flight: state.maxInFlight }),
  });
  show(await answer.json());
  delete document.body.dataset.busy;
  again();
}

at("mode").addEventListener("change", (event) => {
  state.mode = event.target.value;
  control();
});
at("show").addEventListener("change", (event) => {
  state.shown = event.target.value;
  document.body.classList.toggle("original", state.shown === "original");
  const visible = inView();
  if (state.shown === "original") return visible.forEach(cancel);
  if (visible.some((tile) => !tile.colour)) state.since = performance.now();
  visible.forEach(ask);
});
at("max-in-flight").max = setup.most_in_flight;
at("max-in-flight").value = setup.cores;
at("most").textContent = setup.cores;
at("max-in-flight").addEventListener("input", (event) => (at("most").textContent = event.target.value));
at("max-in-flight").addEventListener("change", (event) => {
  state.maxInFlight = Number(event.target.value);
  control();
});
at("again").addEventListener("click", again);
at("filter").addEventListener("click", ({ target }) => {
  const chip = target.closest("[data-filter]");
  if (!chip) return;
  for (const one of at("filter").querySelectorAll(".chip")) one.setAttribute("aria-pressed", one === chip);
  const held = chip.dataset.filter === "held";
  tiles.forEach((tile, element) => (element.hidden = held && !tile.held_out));
  at("explain").textContent = held ? "The model was trained without any of these colours." : "";
  scrollTo({ top: 0 });
});

// Scrolls from the top of the wall to its end in three seconds.
at("fling").addEventListener("click", () => {
  scrollTo({ top: 0 });
  const started = performance.now(), way = document.documentElement.scrollHeight - innerHeight;
  const step = (now) => {
    const part = Math.min(1, (now - started) / 3000);
    scrollTo({ top: way * part });
    if (part < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
});

// --- figures

const seconds = (value) => (value >= 1 ? `${value.toFixed(2)} s` : `${Math.round(value * 1000)} ms`);
const rates = [];

function show(figures) {
  at("per-second").textContent = figures.per_second.toFixed(figures.per_second < 10 ? 1 : 0);
  at("in-flight").textContent = figures.in_flight;
  at("waiting").textContent = Math.max(0, figures.under_way - figures.in_flight);
  at("done").textContent = figures.done;
  at("cancelled").textContent = figures.cancelled;
  at("memory").textContent = figures.memory ? `${Math.round(figures.memory / 1e6)} MB` : "–";
  rates.push(figures.per_second);
  if (rates.length > 60) rates.shift();
  const most = Math.max(20, ...rates);
  const points = rates.map((rate, i) => `${((i + 60 - rates.length) / 59) * 120},${34 - (rate / most) * 30}`);
  at("history").querySelector(".line").setAttribute("d", `M${points.join("L")}`);
  at("history").querySelector(".area").setAttribute("d", `M${points.join("L")}L120,36L${((60 - rates.length) / 59) * 120},36Z`);
}

async function poll() {
  try {
    show(await (await fetch("/figures.json")).json());
    state.lost = 0;
  } catch {
    state.lost += 1;
  }
  at("lost").hidden = state.lost < 3;
  setTimeout(poll, state.lost ? 2000 : 400);
}
poll();
const photos = new Set(setup.tiles.map((tile) => tile.title)).size;
at("subtitle").textContent = `${setup.tiles.length} tiles of ${photos} photos, ${setup.cores} core${setup.cores > 1 ? "s" : ""}`;

// --- tile dialog and trace dialog

function look(made, tile) {
  const dialog = at("one");
  dialog.querySelector("h2").textContent = made.title;
  const seen = made.held_out ? "The model never saw these colours." : "The model saw parts of this photo in colour.";
  dialog.querySelector(".about").textContent = `${made.credit} · ${made.licence} · ${seen}`;
  dialog.querySelector(".gray").src = `/tile/${made.number}/gray.jpg`;
  dialog.querySelector(".guess").src = tile.colour ?? `/tile/${made.number}/colorized.jpg`;
  dialog.querySelector(".truth").src = `/tile/${made.number}/photo.jpg`;
  dialog.showModal();
}

at("trace").addEventListener("click", async () => {
  const summary = await (await fetch("/trace-summary.json")).json();
  const parts = [`${summary.predictions} predictions`, `up to ${summary.concurrency} concurrent`];
  if (summary.predictions_per_second) parts.push(`${summary.predictions_per_second.toFixed(1)} per second`);
  if (summary.average_cpu) parts.push(`${summary.average_cpu.toFixed(1)} cores busy`);
  if (summary.peak_memory) parts.push(`${Math.round(summary.peak_memory / 1e6)} MB peak memory`);
  at("trace-about").textContent = parts.join(" · ");
  const rows = summary.rows.map((row) => {
    const line = document.createElement("tr");
    const times = [row.total, row.average, row.minimum, row.maximum].map(seconds3);
    for (const text of [row.label ? `${row.event} (${row.label})` : row.event, row.model, row.count, ...times]) {
      line.insertCell().textContent = text;
    }
    return line;
  });
  at("tracing").querySelector("tbody").replaceChildren(...rows);
  at("tracing").showModal();
});
const seconds3 = (value) => (value >= 1 ? `${value.toFixed(2)} s` : value >= 1e-3 ? `${(value * 1e3).toFixed(1)} ms` : `${Math.round(value * 1e6)} µs`);
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
document.body.dataset.ready = "yes";
