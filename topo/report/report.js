(() => {
  "use strict";
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // The table as it was read, in base64 and gzip; unpacked when it is asked for.
  const link = document.getElementById("csv");
  link.addEventListener("click", async (event) => {
    if (link.href.startsWith("blob:")) return;
    event.preventDefault();
    const bytes = Uint8Array.from(atob(document.getElementById("csv-data").textContent), (c) => c.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    link.href = URL.createObjectURL(new Blob([await new Response(unpacked).blob()], { type: "text/csv" }));
    link.click();
  });

  function sort(table, column) {
    const heads = [...table.tHead.rows[0].cells];
    const head = heads[column];
    const body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    const number = head.classList.contains("n");
    const keyed = [...body.rows].map((row) => {
      const text = row.cells[column].textContent;
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

  const table = document.getElementById("results");
  const body = table.tBodies[0];
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const cells = [...row.cells].slice(0, 12).map((cell) => cell.textContent.toLowerCase());
      // A number must be met exactly: 0.9 is not 0.95.
      row.hidden = !words.every((word) => cells.some((cell) => (isNaN(word) ? cell.includes(word) : cell === word)));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${body.rows.length} rows` : `${shown} rows`;
  });

  document.querySelectorAll("[data-group]").forEach((box) => box.addEventListener("change", () => {
    table.classList.toggle(`hide-${box.dataset.group}`, !box.checked);
  }));
})();
