// Links to single solutions: #problem/sample, with the run before them where there are several. Each part is encoded.
class Links {
  constructor(index) {
    this.index = index;
    this.places = null; // address to solution, once it is asked for
  }

  of(at) {
    const { index } = this;
    return address([...index.links[index.cell[at]], index.id[at], String(index.sample[at])]);
  }

  // What the page's own address asks for: a solution's number, or what to say where it is not here. Null: nothing.
  asked() {
    const { index } = this;
    const parts = location.hash.slice(1).split("/").map(decoded);
    if (location.hash.length < 2 || byId(parts.join("/"))) return null;
    const before = index.links[0].length;
    const run = parts.slice(0, before);
    const sample = parts.length > before + 1 ? parts.pop() : "";
    const problem = parts.slice(before).join("/"); // by hand, a / may not be encoded
    this.places ??= new Map(index.id.map((_, at) => [this.of(at), at]));
    const at = this.places.get(address([...run, problem, sample]));
    if (at !== undefined) return { at };
    const [here, seen] = [index.id.length, index.seen].map((n) => n.toLocaleString("en"));
    const what = `problem ${short(problem)}, sample ${short(sample)}${run.length ? ` of ${run.map(short).join(", ")}` : ""}`;
    if (!/^\d+$/.test(sample)) return { missing: `The page's address names no solution: it should end in #${"run/".repeat(before)}problem/sample.` };
    if (index.seen === index.id.length || !index.links.some((parts) => address(parts) === address(run))) {
      return { missing: `There is no such solution here: ${what}.` };
    }
    return { missing: `Not on this page: ${what}. It holds ${here} of ${seen} solutions; \u201cstepwave show\u201d prints any of them.` };
  }
}

function address(parts) {
  return `#${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function short(text) {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
