// Makes the heads of tables buttons that sort them. A cell without a value stays last either way.
"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const original = [...body.rows];
  if (original.length < 2) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    arrow.ariaHidden = "true";
    if (button.firstChild) button.firstChild.after(arrow);
    head.append(button);
    button.addEventListener("click", () => {
      const order = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] ?? "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      const sign = order === "descending" ? -1 : 1;
      const key = (row) => {
        const cell = row.cells[column];
        if (!head.classList.contains("number")) return cell.textContent.trim() || null;
        return cell.dataset.value === undefined ? null : Number(cell.dataset.value.replace("inf", "Infinity"));
      };
      const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
      const sorted = original.slice();
      if (order !== "none") {
        head.setAttribute("aria-sort", order);
        sorted.sort((one, other) => {
          const [a, b] = [key(one), key(other)];
          if (a === null || b === null) return (a === null) - (b === null);
          return sign * (a === b ? 0 : compare(a, b));
        });
      }
      body.append(...sorted);
    });
  });
}
