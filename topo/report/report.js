(() => {
  "use strict";
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // A link to something folded opens it.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();

  function sort(table, column) {
    const heads = [...table.tHead.rows[0].cells];
    const head = heads[column];
    const body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    const number = head.classList.contains("n");
    const keyed = [...body.rows].map((row) => {
      const text = row.cells[column].textContent.trim();
      return [row, number ? parseFloat(text) : text];
    });
    const empty = (key) => key === "" || Number.isNaN(key);
    keyed.sort(([, a], [, b]) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      const order = number ? a - b : a.localeCompare(b);
      return down ? -order : order;
    });
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...keyed.map(([row]) => row));
  }
  document.querySelectorAll("table.sortable thead").forEach((head) => head.addEventListener("click", (event) => {
    const cell = event.target.closest("th");
    if (cell) sort(cell.closest("table"), cell.cellIndex);
  }));

  // There is one full table a piece of evidence.
  document.querySelectorAll("table.full").forEach((table) => {
    const part = table.closest("details");
    const body = table.tBodies[0];
    const filter = part.querySelector("input[type=search]");
    const count = part.querySelector(".count");
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
      let shown = 0;
      for (const row of body.rows) {
        const cells = [...row.cells].slice(0, 12).map((cell) => cell.textContent.trim().toLowerCase());
        // A number must be met exactly: 0.9 is not 0.95.
        row.hidden = !words.every((word) => cells.some((cell) => (isNaN(word) ? cell.includes(word) : cell === word)));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${body.rows.length} rows` : `${shown} rows`;
    });
    part.querySelectorAll("[data-group]").forEach((box) => box.addEventListener("change", () => {
      table.classList.toggle(`hide-${box.dataset.group}`, !box.checked);
    }));
  });
})();
