// Searchable, sortable, paged tables. All rows come from a JSON block; cells are text nodes, never markup.
(() => {
  "use strict";
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const SYMBOL = { keep: "●", drop: "○", review: "◐", "no feature": "–" };
  const NUMBERS = new Set(["count", "score", "share", "amount", "bytes"]);
  const grouped = (count) => count.toLocaleString("en-US");
  // A number travels with its text ([value, text]): sorting needs the one, reading the other.
  const valueOf = (cell) => (Array.isArray(cell) ? cell[0] : cell);
  const textOf = (cell) => (Array.isArray(cell) ? cell[1] : cell === null ? "" : String(cell));
  const element = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  function extra(columns, row) {
    return columns
      .map(({ key, wide }, at) => (wide && valueOf(row[at]) ? (key === "cost" ? "cost " : "") + textOf(row[at]) : ""))
      .filter(Boolean)
      .join(" · ");
  }

  function cell(columns, row, index) {
    const { key, kind, wide } = columns[index];
    const text = textOf(row[index]);
    const node = element(kind === "name" ? "th" : "td", (NUMBERS.has(kind) ? "number" : kind) + (wide ? " wide" : ""));
    node.dataset.key = key;
    if (kind === "name") {
      node.scope = "row";
      node.append(element("bdi", "feature", text));
      const more = extra(columns, row);
      if (more) node.append(element("small", "extra", more));
    } else if (kind === "badge") {
      const symbol = element("span", "symbol", SYMBOL[text]);
      symbol.setAttribute("aria-hidden", "true");
      const badge = element("span", "badge " + text.replace(" ", "-"));
      badge.append(symbol, " " + text);
      node.append(badge);
    } else if (kind === "share" && valueOf(row[index]) !== null) {
      const meter = element("span", "meter");
      meter.style.setProperty("--share", Math.max(0, Math.min(1, valueOf(row[index]))));
      meter.setAttribute("aria-hidden", "true");
      node.append(meter, element("span", "share", text));
    } else if (kind === "text") {
      node.append(element("bdi", "", text));
    } else {
      node.textContent = text;
    }
    return node;
  }

  function mount(root) {
    const { columns, rows, noun } = JSON.parse(document.getElementById(root.dataset.rows).textContent);
    const body = root.querySelector("tbody");
    const heads = [...root.querySelectorAll("thead th")];
    const search = root.querySelector("input[type=search]");
    const size = root.querySelector("select");
    const filters = [...root.querySelectorAll("[data-filter]")];
    const [previous, next] = root.querySelectorAll("[data-step]");
    const status = root.querySelector("[role=status]");
    const texts = rows.map((row) => row.filter((value) => typeof value === "string").join("\n").toLowerCase());
    const badge = columns.findIndex((column) => column.kind === "badge");
    let sort = { index: -1, down: false };
    let wanted = "";
    let page = 0;
    let found = rows.map((_, at) => at);

    function compare(a, b) {
      const x = valueOf(rows[a][sort.index]), y = valueOf(rows[b][sort.index]);
      const missing = (value) => value === null || value === "";
      if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b; // unknown values stay last either way
      const order = typeof x === "number" ? x - y : collator.compare(x, y);
      return (sort.down ? -order : order) || a - b;
    }

    function update() {
      const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      found = [];
      for (let at = 0; at < rows.length; at++) {
        if (wanted && rows[at][badge] !== wanted) continue;
        if (terms.every((term) => texts[at].includes(term))) found.push(at);
      }
      if (sort.index >= 0) found.sort(compare);
      page = 0;
      draw();
    }

    function draw() {
      const length = Number(size.value);
      const pages = Math.max(1, Math.ceil(found.length / length));
      page = Math.min(page, pages - 1);
      const first = page * length;
      const shown = found.slice(first, first + length);
      const fragment = document.createDocumentFragment();
      for (const at of shown) {
        const line = document.createElement("tr");
        columns.forEach((_, index) => line.append(cell(columns, rows[at], index)));
        fragment.append(line);
      }
      if (!shown.length) {
        const empty = element("td", "empty", "No matches. Clear the search or choose another filter.");
        empty.colSpan = columns.length;
        const line = document.createElement("tr");
        line.append(empty);
        fragment.append(line);
      }
      body.replaceChildren(fragment);
      const range = shown.length ? `${grouped(first + 1)} to ${grouped(first + shown.length)}` : "0";
      const matching = found.length === rows.length ? "" : ` matching, of ${grouped(rows.length)}`;
      status.textContent = `${range} of ${grouped(found.length)} ${noun}${matching}`;
      previous.disabled = page === 0;
      next.disabled = page >= pages - 1;
    }

    heads.forEach((head, index) => {
      const button = element("button", "sort");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        // A first click on a quantity asks for the largest, on a rank or a name for the first.
        const down = sort.index === index ? !sort.down : ["score", "share", "amount", "bytes"].includes(columns[index].kind);
        sort = { index, down };
        heads.forEach((other, at) => other.setAttribute("aria-sort", at !== index ? "none" : sort.down ? "descending" : "ascending"));
        update();
      });
    });
    filters.forEach((button) =>
      button.addEventListener("click", () => {
        wanted = button.dataset.filter;
        filters.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        update();
      }),
    );
    search.addEventListener("input", update);
    size.addEventListener("change", () => { page = 0; draw(); });
    [[previous, -1], [next, 1]].forEach(([button, by]) =>
      button.addEventListener("click", () => { page += by; draw(); }),
    );
    root.querySelectorAll("[data-live]").forEach((node) => { node.hidden = false; });
    root.querySelectorAll("[data-static]").forEach((node) => { node.hidden = true; });
    draw();
  }

  document.querySelectorAll("[data-rows]").forEach(mount);
  // In a sandboxed blob frame a fragment link may go nowhere: move by hand, and take the focus along.
  document.querySelectorAll('a[href^="#"]').forEach((link) =>
    link.addEventListener("click", (event) => {
      const target = document.getElementById(link.hash.slice(1));
      if (!target) return;
      event.preventDefault();
      target.scrollIntoView();
      target.tabIndex = -1;
      target.focus({ preventScroll: true });
    }),
  );
  // Paper has no disclosure triangles.
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((node) => { node.open = true; }));
})();
