// Money: GPU-hours times the price that stands in the field.
function startPrice() {
  const price = byId("price");
  if (!price) return;
  const show = () => {
    const each = price.value === "" ? NaN : Number(price.value);
    for (const place of all("[data-hours]")) {
      const money = Number(place.dataset.hours) * each;
      const digits = Math.abs(money) >= 1 || money === 0 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumSignificantDigits: 2 };
      place.textContent = each >= 0 ? money.toLocaleString("en", digits).replace("-", "−") : "–";
    }
  };
  price.addEventListener("input", show);
  show();
}
