
"use strict";
// Only adds to the page: without it all is there, and nothing that it adds is needed to read.
(() => {
  const form = document.getElementById("search");
  const input = document.getElementById("q");
  const found = document.getElementById("found");
  const releases = [...document.querySelectorAll(".release")];
  const sections = [...document.querySelectorAll("section.name")];
  const items = [...document.querySelectorAll("nav li")];
  const links = new Map(items.map((item) => [item.firstElementChild.getAttribute("href").slice(1), item]));
  const SHOWN_HITS = 6;

  // Made once, when the first search begins: a hub may have 60,000 rows.
  let indexed;
  const index = () => (indexed ??= releases.map((release) => {
    const heads = [release.closest("section").querySelector("h2"), ...release.querySelectorAll(".tag, h3, .licences dd")];
    const rows = [...release.querySelectorAll("tbody tr")];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const head = heads.map((element) => element.textContent).join("\n").toLowerCase();
    return { release, rows, texts, head, all: head + "\n" + texts.join("\n") };
  }));

  const showHits = (entry, words) => {
    entry.release.querySelector(".hits")?.remove();
    const sought = words.filter((word) => !entry.head.includes(word));
    if (sought.length === 0) return;
    // Of several words, packages that have all of them are meant, if there are any.
    const rowsWith = (quantifier) => entry.rows.filter((_, n) => sought[quantifier]((word) => entry.texts[n].includes(word)));
    const whole = rowsWith("every");
    const hits = whole.length > 0 ? whole : rowsWith("some");
    const line = document.createElement("p");
    line.className = "hits";
    const names = hits.slice(0, SHOWN_HITS).map((row) => row.cells[0].textContent + " " + row.cells[1].textContent);
    const more = hits.length > SHOWN_HITS ? ` and ${hits.length - SHOWN_HITS} more` : "";
    line.textContent = `With ${names.join(", ")}${more}`;
    entry.release.querySelector(".tags").after(line);
  };

  const search = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    let count = 0;
    for (const entry of index()) {
      const fits = words.every((word) => entry.all.includes(word));
      entry.release.hidden = !fits;
      count += fits;
      showHits(entry, fits ? words : []);
    }
    for (const section of sections) {
      const inside = [...section.querySelectorAll(".release")];
      section.hidden = words.length > 0 && inside.every((release) => release.hidden);
      const link = links.get(section.querySelector("h2").id);
      if (link) link.hidden = section.hidden;
      const older = section.querySelector(".older");
      if (older) {
        const fits = [...older.querySelectorAll(".release")].some((release) => !release.hidden);
        older.hidden = !fits;
        older.open = words.length > 0 && fits;
      }
    }
    found.textContent = words.length === 0 ? "" : `${count} of ${releases.length} found`;
  };

  const QUERY = "#q=";
  const fromFragment = () => {
    if (!location.hash.startsWith(QUERY)) return;
    try {
      input.value = decodeURIComponent(location.hash.slice(QUERY.length));
    } catch {
      return; // Not encoded as an address is.
    }
    search();
  };
  const toFragment = () => {
    const query = input.value.trim();
    history.replaceState(null, "", query === "" ? "#" : QUERY + encodeURIComponent(query));
  };

  const copy = async (button, code) => {
    const say = (text, label) => {
      button.textContent = text;
      button.setAttribute("aria-label", label);
    };
    try {
      await navigator.clipboard.writeText(code.textContent);
      say("Copied", "Copied");
    } catch {
      // Without a clipboard (plain HTTP): selected, so that one key copies it.
      getSelection().selectAllChildren(code);
      say("Selected", "Selected");
    }
    setTimeout(() => say("Copy", `Copy: ${code.textContent}`), 2000);
  };
  for (const command of document.querySelectorAll(".command")) {
    const code = command.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${code.textContent}`);
    button.addEventListener("click", () => copy(button, code));
    command.append(button);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("input", () => { search(); toFragment(); });
  addEventListener("hashchange", fromFragment);
  form.hidden = false;
  fromFragment();
})();
