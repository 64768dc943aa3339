// Which solutions are listed.
class Filters {
  constructor(solutions, changed) {
    this.solutions = solutions;
    this.turn = 0; // a search that was overtaken by another has no effect
    const { index } = solutions;
    this.fields = ["verdict", "status", "level", "cell"];
    this.fill("verdict", index.verdicts, "any verdict");
    this.fill("status", index.statuss, "any end");
    this.fill("level", index.levels, "any level", (a, b) => a - b || a.localeCompare(b), "no level");
    this.fill("cell", index.cells, "every run", null);
    byId("rewritten-label").hidden = !index.marks.some((marks) => marks.includes("t") && marks.includes("d"));
    byId("picked-label").hidden = index.picked.every((picked) => picked);
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const field of [...this.fields, "rewritten", "picked"]) byId(field).addEventListener("change", changed);
    this.waiting = 0;
    byId("search").addEventListener("input", () => {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(changed, 120);
    });
  }

  clear() {
    clearTimeout(this.waiting);
    for (const field of [...this.fields, "search"]) byId(field).value = "";
    for (const field of ["rewritten", "picked"]) byId(field).checked = false;
  }

  fill(field, names, any, order = (a, b) => a.localeCompare(b), none = "") {
    const select = byId(field);
    const options = names.map((name, place) => ({ name: name || none, place }));
    if (order) options.sort((a, b) => order(a.name, b.name));
    select.append(new Option(any, ""), ...options.map(({ name, place }) => new Option(name, place)));
    select.hidden = names.length < 2;
  }

  // Numbers of the solutions that pass, in order; null where a later call overtook this one.
  async passing() {
    const turn = ++this.turn;
    const { index, length } = this.solutions;
    const wanted = this.fields.filter((field) => byId(field).value !== "")
      .map((field) => [index[field], Number(byId(field).value)]);
    const [rewritten, picked] = [byId("rewritten").checked, byId("picked").checked];
    let found = [];
    for (let at = 0; at < length; at++) {
      if (wanted.every(([column, value]) => column[at] === value) &&
        (!rewritten || index.marks[at].includes("t")) && (!picked || index.picked[at])) found.push(at);
    }
    const search = byId("search").value.trim().toLowerCase();
    if (search) {
      const passed = [];
      for (const at of found) {
        const texts = await this.solutions.searched(Math.floor(at / index.chunk));
        if (turn !== this.turn) return null;
        if (texts[at % index.chunk].includes(search)) passed.push(at);
      }
      found = passed;
    }
    return turn === this.turn ? found : null;
  }
}
