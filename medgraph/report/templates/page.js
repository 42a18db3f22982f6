// Sortable tables and filters; without it everything is shown in the order of the file.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.ariaSort === "descending" || (!head.ariaSort && !head.classList.contains("num"));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.ariaSort = ascending ? "ascending" : "descending";
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("split"));
        rows.sort((a, b) => (ascending ? 1 : -1) * compare(a.cells[column].textContent, b.cells[column].textContent));
        body.append(...rows);
      }
    });
  });
}
function compare(a, b) {
  const [x, y] = [a, b].map((text) => parseFloat(text.replace(/,/g, "").replace("\u2212", "-")));
  if (!isNaN(x) && !isNaN(y)) return x - y;
  if (isNaN(x) !== isNaN(y)) return isNaN(x) ? -1 : 1;
  return a.localeCompare(b);
}
for (const form of document.querySelectorAll("[data-filters]")) {
  const cards = [...document.querySelectorAll("[data-facts]")].map((card) => [card, JSON.parse(card.dataset.facts)]);
  form.addEventListener("change", () => {
    const wanted = [...new FormData(form)].filter(([, value]) => value);
    for (const [card, facts] of cards) card.hidden = wanted.some(([name, value]) => facts[name] !== value);
    const shown = cards.filter(([card]) => !card.hidden).length;
    form.querySelector("output").textContent = `${shown} of ${cards.length} shown`;
  });
}
