// The page comes to life.
startTheme();
startTips();
startChoices();
startTable();
startPrice();
if (typeof DecompressionStream === "undefined") {
  byId("count").textContent = "To browse solutions this page needs a browser of 2023 or later.";
} else {
  Solutions.read().then(async (solutions) => {
    const browser = new Browser(solutions);
    await browser.filter();
    await browser.follow();
    document.documentElement.dataset.ready = "yes";
  });
}
