// What a mark of a plot stands for, shown beside it when it is pointed at or touched.
function startTips() {
  const tip = byId("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const mark = event.target.closest?.("[data-tip]");
    if (!mark) return hide();
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const left = box.left + box.width / 2 - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${box.top > tip.offsetHeight + 12 ? box.top - tip.offsetHeight - 8 : box.bottom + 8}px`;
  };
  for (const title of all("svg [data-tip] > title")) title.remove(); // one tooltip is enough
  for (const mark of all("svg [data-tip]")) mark.setAttribute("aria-label", mark.dataset.tip);
  for (const kind of ["pointerover", "click"]) document.addEventListener(kind, show);
  document.addEventListener("scroll", hide, { passive: true });
}
