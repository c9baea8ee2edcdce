// Sorting, filtering and copying. Everything else on the page works without a script.

const number = (cell) => (cell.dataset.value === undefined ? NaN : Number(cell.dataset.value));

function matrix(tools) {
  const table = document.getElementById(tools.dataset.sorts);
  const body = table.tBodies[0];
  const buttons = [...tools.querySelectorAll("button")];
  const sort = (place) => {
    const ranks = [...body.rows].map((row) => Number(row.dataset.ranks.split(" ")[place]));
    const order = ranks.map((_, position) => position).sort((one, other) => ranks[one] - ranks[other]);
    const rows = [...body.rows]; // rows and columns have the same order, so that correct cells stay on the diagonal
    for (const row of [table.tHead.rows[0], ...rows]) {
      const cells = [...row.cells];
      row.append(...order.map((position) => cells[position + 1]));
    }
    body.append(...order.map((position) => rows[position]));
    for (const [other, button] of buttons.entries()) button.setAttribute("aria-pressed", String(other === place));
  };
  for (const [place, button] of buttons.entries()) button.addEventListener("click", () => sort(place));
  tools.hidden = false;

  // One tab stop; arrow keys go to the next cell with images in their direction.
  const links = () => [...body.querySelectorAll("a")];
  const stop = (link) => {
    for (const each of links()) each.tabIndex = each === link ? 0 : -1;
  };
  const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  table.setAttribute("role", "grid");
  if (links().length) stop(links()[0]);
  body.addEventListener("focusin", (event) => event.target.closest("a") && stop(event.target.closest("a")));
  body.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    event.preventDefault();
    let [row, column] = [cell.parentNode.sectionRowIndex + step[0], cell.cellIndex + step[1]];
    while (body.rows[row]?.cells[column]) {
      const link = body.rows[row].cells[column].querySelector("a");
      if (link) return link.focus();
      [row, column] = [row + step[0], column + step[1]];
    }
  });
}

function sortable(table) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const sort = (header) => {
    const { cellIndex } = header;
    const text = !body.rows[0]?.cells[cellIndex].hasAttribute("data-value");
    const before = header.getAttribute("aria-sort");
    const up = before === null ? text : before === "descending"; // numbers: the largest first
    const compare = (one, other) => {
      const [a, b] = [one.cells[cellIndex], other.cells[cellIndex]];
      if (text) return a.textContent.localeCompare(b.textContent, undefined, { numeric: true }) * (up ? 1 : -1);
      const [x, y] = [number(a), number(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // without a value: last
      return (x - y) * (up ? 1 : -1);
    };
    body.append(...[...body.rows].sort(compare));
    for (const each of headers) each.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
  };
  for (const header of headers) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header));
    header.append(button);
  }
}

function filter(tools) {
  const body = document.getElementById(tools.dataset.filters).tBodies[0];
  const input = tools.querySelector("input");
  const status = tools.querySelector("[role=status]");
  const plain = (text) => text.toLowerCase().replaceAll("_", " ");
  const names = new Map([...body.rows].map((row) => [row, plain(row.cells[0].textContent)]));
  input.addEventListener("input", () => {
    const wanted = plain(input.value.trim());
    let shown = 0;
    for (const [row, name] of names) {
      row.hidden = !name.includes(wanted);
      shown += !row.hidden;
    }
    status.textContent = wanted ? `${shown.toLocaleString("en")} of ${names.size.toLocaleString("en")} classes` : "";
  });
  tools.hidden = false;
}

function copies(button) {
  const code = button.closest("figure").querySelector("code");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code); // not allowed here: selected, to be copied by hand
      button.textContent = "Selected";
      return;
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  button.hidden = false;
}

document.querySelectorAll("[data-sorts]").forEach(matrix);
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("[data-filters]").forEach(filter);
document.querySelectorAll("button[data-copy]").forEach(copies);

let opened = []; // for the printed page, which cannot be opened
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of opened) each.open = false;
});
