// Plots that come in two versions: what is chosen in one is chosen in all.
function startChoices() {
  const buttons = all(".choice button");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const choice = button.dataset.choice;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other.dataset.choice === choice));
      for (const picture of all(".picture")) {
        if (picture.dataset.choice) picture.hidden = picture.dataset.choice !== choice;
      }
    });
  }
}
