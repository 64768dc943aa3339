// The table of methods: sorted by a column that is clicked, limited to a benchmark.
function sortRows(table, column, descending) {
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === ""); // what is missing stands last
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

function startTable() {
  const table = byId("methods");
  if (!table) return;
  for (const header of all("th[aria-sort]", table)) {
    header.firstElementChild.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") !== "descending";
      for (const other of all("th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table, header.cellIndex, descending);
    });
  }
  const benchmark = byId("benchmark");
  if (!benchmark) return;
  const limit = () => {
    table.classList.toggle("one", benchmark.value !== "");
    for (const row of table.tBodies[0].rows) {
      row.hidden = benchmark.value !== "" && row.dataset.benchmark !== benchmark.value;
    }
  };
  benchmark.addEventListener("change", limit);
  limit();
}
