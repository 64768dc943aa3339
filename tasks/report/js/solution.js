// One solution: its line in the list, and what opens below it.
function stepMarks(marks) {
  const strip = make("span", "marks");
  strip.setAttribute("aria-label", `${marks.length} steps, ${marks.split("t").length - 1} from the target`);
  for (const mark of marks) strip.append(make("i", mark === "t" ? "target" : "draft"));
  return strip;
}

function solutionLine(browser, at) {
  const { index } = browser.solutions;
  const verdict = index.verdicts[index.verdict[at]];
  const kind = { correct: "good", wrong: "bad" }[verdict] ?? "open";
  const sign = make("span", `verdict ${kind}`, { good: "✓", bad: "✗", open: "?" }[kind]);
  sign.setAttribute("aria-label", verdict);
  sign.title = verdict;
  const facts = [index.cells.length > 1 ? index.cells[index.cell[at]] : null, index.sample[at] ? `sample ${index.sample[at]}` : null,
    index.levels[index.level[at]] ? `level ${index.levels[index.level[at]]}` : null,
    index.statuss[index.status[at]] === "finished" ? null : index.statuss[index.status[at]],
    kind === "open" ? verdict : null, index.picked[at] ? null : "not picked", browser.order.tell(at)];
  const button = make("button", "line", sign,
    make("span", "what", make("b", "", index.id[at]), make("span", "excerpt", index.excerpt[at])),
    make("span", "facts", facts.filter(Boolean).join(" · ")), stepMarks(index.marks[at]));
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  const item = make("li", "", button);
  button.addEventListener("click", () => toggle(item, button, browser, at));
  return item;
}

async function toggle(item, button, browser, at) {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(open));
  if (!open) return item.querySelector(".details")?.remove();
  const details = await browser.solutions.details(at);
  if (button.getAttribute("aria-expanded") === "true" && !item.querySelector(".details")) {
    item.append(solutionDetails(details, browser, at));
  }
}

function solutionDetails(details, browser, at) {
  const { index } = browser.solutions;
  const body = make("div", "details", make("p", "problem text", details.problem));
  const facts = make("dl", "");
  const fact = (name, value) => {
    if (value !== null && value !== undefined && value !== "") facts.append(make("div", "", make("dt", "", name), make("dd", "", String(value))));
  };
  fact("answer", details.answer);
  fact("reference", details.reference);
  fact("score", details.score === null || details.score === undefined ? null : details.score.toFixed(3));
  fact("picked", index.picked[at] ? null : "no");
  fact("error", details.error);
  const link = make("a", "link", "link to this solution");
  link.href = browser.links.of(at);
  body.append(facts, link);
  for (const number of index.prompts[index.cell[at]]) body.append(promptItem(index.frames[number], details.user ?? details.problem));
  const steps = make("ol", "steps");
  for (const text of details.begun) steps.append(givenItem(text));
  details.steps.forEach((attempts, number) => steps.append(stepItem(attempts, number)));
  body.append(steps);
  if (details.cut) body.append(make("p", "about", "Further steps are left out here."));
  if (details.metadata) body.append(make("details", "", make("summary", "", "metadata"), make("pre", "text", details.metadata)));
  return body;
}

// What roles read of a problem before the first step, the user message marked in it.
function promptItem([roles, parts], user) {
  const text = make("pre", "text");
  parts.forEach((part, number) => text.append(...(number ? [make("mark", "", user)] : []), part));
  return make("details", "prompt", make("summary", "", `prompt of ${roles}`), text);
}

function attemptBody([accepted, target, reward, tokens, text, parent], className) {
  const facts = [accepted ? null : "rejected", reward === null ? null : `reward ${reward.toFixed(3)}`, `${tokens} tokens`,
    parent === undefined ? null : `continues attempt ${parent}`].filter(Boolean).join(" · ");
  return make("div", `attempt ${className} ${target ? "target" : "draft"}`,
    make("p", "who", make("b", "", target ? "target" : "draft"), ` ${facts}`), make("p", "text", text.trimEnd()));
}

// A step of the input's, from which the solution goes on.
function givenItem(text) {
  return make("li", "given", make("div", "attempt given", make("p", "who", "from the input"), make("p", "text", text.trimEnd())));
}

function stepItem(attempts, number) {
  const item = make("li", "step");
  const kept = attempts.filter((attempt) => attempt[0]);
  const rejected = attempts.filter((attempt) => !attempt[0]);
  for (const attempt of kept) item.append(attemptBody(attempt, "kept"));
  if (rejected.length) {
    const button = make("button", "more", `${rejected.length} rejected`);
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `${rejected.length} rejected attempts at step ${number + 1}`);
    const others = make("div", "rejected", ...rejected.map((attempt) => attemptBody(attempt, "other")));
    others.hidden = true;
    button.addEventListener("click", () => {
      others.hidden = !others.hidden;
      button.setAttribute("aria-expanded", String(!others.hidden));
    });
    (item.querySelector(".who") ?? item).append(button);
    item.append(others);
  }
  return item;
}
