// Searchable, sortable, paged tables. All rows come from a JSON block; cells are text nodes, never markup.
(() => {
  "use strict";
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const MINUS = "\u2212", NARROW = "\u202f", UNKNOWN = "n/a";
  const grouped = (value, decimals) => {
    const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
  };
  const significant = (value, digits) => {
    if (value === 0) return "0";
    const [mantissa, power] = value.toExponential(digits - 1).split("e");
    const exponent = Number(power);
    if (exponent <= -5 || exponent >= 7) {
      return (mantissa + "e" + (exponent < 0 ? "-" : "+") + String(Math.abs(exponent)).padStart(2, "0")).replaceAll("-", MINUS);
    }
    return grouped(value, Math.max(0, digits - 1 - exponent));
  };
  const amount = (value) => {
    if (value === Math.round(value) || Math.abs(value) >= 100) return grouped(value, 0);
    return Math.abs(value) >= 0.01 ? grouped(value, 2) : significant(value, 2);
  };
  const WRITE = {
    count: (value) => grouped(value, 0),
    score: (value) => significant(value, 3),
    share: (value) => grouped(value * 100, 0) + NARROW + "%",
    amount,
  };
  const SYMBOL = { keep: "●", drop: "○", review: "◐" };
  const isNumber = (kind) => kind in WRITE;
  const write = (kind, value) => {
    if (value === null || value === undefined || value === "") return isNumber(kind) ? UNKNOWN : "";
    return isNumber(kind) ? WRITE[kind](value) : String(value);
  };
  const element = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  function cell(columns, row, index) {
    const { kind, wide } = columns[index];
    const node = document.createElement(kind === "name" ? "th" : "td");
    const classes = [isNumber(kind) ? "number" : kind];
    if (wide) classes.push("wide");
    node.className = classes.join(" ");
    node.dataset.key = columns[index].key;
    const text = write(kind, row[index]);
    if (kind === "name") {
      node.scope = "row";
      node.append(element("bdi", "feature", text));
      const extra = columns
        .map((column, at) => (column.wide && row[at] ? (column.key === "carried_by" ? "carried by " : column.key === "cost" ? "cost " : "") + write(column.kind, row[at]) : ""))
        .filter(Boolean);
      if (extra.length) node.append(element("small", "extra", extra.join(" · ")));
    } else if (kind === "badge") {
      const badge = element("span", "badge " + text);
      const symbol = element("span", "symbol", SYMBOL[text] || "");
      symbol.setAttribute("aria-hidden", "true");
      badge.append(symbol, " " + text);
      node.append(badge);
    } else if (kind === "share" && typeof row[index] === "number") {
      const bar = element("span", "meter");
      bar.style.setProperty("--share", Math.max(0, Math.min(1, row[index])));
      bar.setAttribute("aria-hidden", "true");
      node.append(bar, text);
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
      const x = rows[a][sort.index], y = rows[b][sort.index];
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
        const empty = element("td", "empty", "Nothing matches. Clear the search or choose another filter.");
        empty.colSpan = columns.length;
        const line = document.createElement("tr");
        line.append(empty);
        fragment.append(line);
      }
      body.replaceChildren(fragment);
      const range = shown.length ? `${grouped(first + 1, 0)} to ${grouped(first + shown.length, 0)}` : "0";
      const matching = found.length === rows.length ? "" : ` matching, of ${grouped(rows.length, 0)}`;
      status.textContent = `${range} of ${grouped(found.length, 0)} ${noun}${matching}`;
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
        sort = { index, down: sort.index === index ? !sort.down : columns[index].kind === "share" || columns[index].kind === "score" || columns[index].kind === "amount" };
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
  // Paper has no disclosure triangles.
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((node) => { node.open = true; }));
})();
