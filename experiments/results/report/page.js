const said = document.getElementById("said");
const isDark = matchMedia("(prefers-color-scheme: dark)");
const views = new Map();

const shade = () => document.documentElement.classList.toggle("dark", isDark.matches);
isDark.addEventListener("change", shade);
shade();

function say(text) {
  said.textContent = text;
  setTimeout(() => { said.textContent = ""; }, 2500);
}

async function draw(figure) {
  if (views.has(figure)) return views.get(figure);
  const spec = JSON.parse(document.getElementById(figure.dataset.spec).textContent);
  const options = { renderer: "svg", ast: true, actions: false, tooltip: { theme: isDark.matches ? "dark" : "light" } };
  const drawn = vegaEmbed(figure.querySelector(".drawing"), spec, options).then((done) => done.view);
  views.set(figure, drawn);
  if (JSON.stringify(spec.params ?? []).includes('"frame"')) play(figure, await drawn);
  return drawn;
}

function play(figure, view) {
  const button = figure.querySelector(".play");
  const slider = figure.querySelector("input[type=range]");
  const last = Number(slider.max);
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    if (timer) return stop();
    button.textContent = "Stop";
    let frame = view.signal("frame") >= last ? 0 : view.signal("frame");
    timer = setInterval(() => {
      view.signal("frame", frame).runAsync();
      if (frame >= last) stop();
      frame += 1;
    }, 80);
  });
}

async function save(button) {
  const figure = button.closest("figure");
  const view = await draw(figure);
  const link = document.createElement("a");
  link.href = await view.toImageURL(button.dataset.kind, 2);
  link.download = `${figure.id}.${button.dataset.kind}`;
  link.click();
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const held = document.createElement("textarea");
    held.value = text;
    document.body.append(held);
    held.select();
    document.execCommand("copy");
    held.remove();
  }
  say("copied");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.classList.contains("copy")) copy(button.dataset.copy);
  if (button?.classList.contains("save")) save(button);
});

const figures = [...document.querySelectorAll("figure.chart")];
const near = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    near.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "600px" });
figures.forEach((figure) => near.observe(figure));
addEventListener("beforeprint", () => {
  document.documentElement.classList.remove("dark");
  figures.forEach(draw);
});
addEventListener("afterprint", shade);

const source = document.getElementById("table-source").textContent;
const { default: DataTable } = await import("data:text/javascript;base64," + source.trim());
for (const table of document.querySelectorAll("table.board")) {
  const isLong = Boolean(table.dataset.many);
  new DataTable(table, { paging: isLong, info: isLong, pageLength: 25, order: [], autoWidth: false });
}
