// Makes the heads of tables buttons that sort them. A cell without a value stays last either way.
"use strict";
// A link into a folded section unfolds it, and paper shows everything.
const unfold = () => {
  const aim = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let e = aim; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
  if (aim) aim.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
const opened = [];
addEventListener("beforeprint", () => {
  for (const e of document.querySelectorAll("details.section:not([open])")) { e.open = true; opened.push(e); }
});
addEventListener("afterprint", () => { for (const e of opened.splice(0)) e.open = false; });
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
