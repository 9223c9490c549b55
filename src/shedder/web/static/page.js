// Keeps the parts of a page that move fresh, and gives it keys. The page works without it.
"use strict";

(() => {
  const base = document.body.dataset.base;
  const path = document.body.dataset.page + location.search;
  const fresh = document.getElementById("fresh");
  const STALE_MS = 5000;
  const POLL_MS = 3000;
  const title = document.title;
  let heardAt = Date.now();
  let lastAt = (document.getElementById("read-at") || {}).textContent || "";
  let saidByServer = fresh ? fresh.textContent.trim() : "";

  // what moves

  const held = new Map();

  function replace(name, html) {
    const part = document.querySelector(`[data-live="${CSS.escape(name)}"]`);
    if (!part) return;
    if (part.contains(document.activeElement) && isTyping()) { held.set(name, html); return; }
    held.delete(name);
    const open = new Map([...part.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
    const focused = part.contains(document.activeElement) ? signOf(document.activeElement) : "";
    const typed = new Map(kept(part).filter((each) => each.value !== each.defaultValue).map((each) => [each.dataset.keep, each.value]));
    part.innerHTML = html;
    for (const each of part.querySelectorAll("details[id]")) {
      if (open.has(each.id)) each.open = open.get(each.id);
    }
    for (const each of kept(part)) {
      if (typed.has(each.dataset.keep)) each.value = typed.get(each.dataset.keep);
    }
    if (focused) {
      const again = [...part.querySelectorAll("a[href], button, summary")].find((each) => signOf(each) === focused);
      if (again) again.focus({ preventScroll: true });
    }
    mark();
    filter();
    sign();
  }

  // in a row of tabs, where the trouble is
  function sign() {
    const verdict = document.querySelector("[data-sign]");
    if (verdict) document.title = verdict.dataset.sign + title;
  }

  // what was typed and not sent yet
  function kept(part) {
    return [...part.querySelectorAll("input[data-keep]")];
  }

  function signOf(element) {
    const beside = element.form && element.form.querySelector("[data-keep]");
    const sign = element.getAttribute("href") || element.parentElement.id || (beside && beside.dataset.keep);
    return `${element.tagName} ${sign || element.textContent}`;
  }

  // the server tells a change once: one that came while somebody typed is shown when they have left the box
  document.addEventListener("focusout", () => setTimeout(() => {
    for (const [name, html] of [...held]) replace(name, html);
  }));

  function isTyping() {
    return /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  }

  function say(text) {
    // a live region is only touched when what it says has changed
    if (fresh && fresh.textContent.trim() !== text) fresh.textContent = text;
  }

  function take(message) {
    heardAt = Date.now();
    const at = clockOf(message.at);
    const trouble = message.trouble || "";
    if (!trouble) lastAt = at || lastAt;
    const shown = document.getElementById("read-at");
    if (shown && lastAt) shown.textContent = lastAt;
    saidByServer = trouble;
    say(trouble ? `Not fresh since ${clockOf(message.since)} UTC${lastAt ? `: last answer ${lastAt} UTC` : ""}. ${trouble}` : "");
    for (const [name, html] of Object.entries(message.parts || {})) replace(name, html);
  }

  function clockOf(at) {
    const found = /\d\d:\d\d:\d\d/.exec(at || "");
    return found ? found[0] : "";
  }

  function watch() {
    if (Date.now() - heardAt > STALE_MS) {
      say(`Not fresh: last answer ${lastAt ? `${lastAt} UTC` : "unknown"}. ${saidByServer}`.trim());
    }
  }

  function stream() {
    const source = new EventSource(`${base}/live?page=${encodeURIComponent(path)}`);
    let hasOpened = false;
    source.onmessage = (event) => { hasOpened = true; take(JSON.parse(event.data)); };
    source.onerror = () => {
      // a proxy that lets no stream pass never gives a first message
      if (!hasOpened) { source.close(); poll(); }
    };
    addEventListener("pagehide", () => source.close());
  }

  async function poll() {
    try {
      const answer = await fetch(`${base}/live?page=${encodeURIComponent(path)}&once=1`, { headers: { Accept: "application/json" } });
      if (answer.ok) take(await answer.json());
    } catch { /* the page says that it is not fresh */ }
    setTimeout(poll, document.hidden ? 5 * POLL_MS : POLL_MS);
  }

  sign();
  if (document.querySelector("[data-live]:not([data-live='bar'])")) {
    if (window.EventSource && "streams" in document.body.dataset) stream(); else poll();
    setInterval(watch, 1000);
  }

  // command lines

  function offerCopies(within) {
    for (const line of within.querySelectorAll("[data-copy]:not(.can-copy)")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "small copy";
      button.textContent = "Copy";
      button.addEventListener("click", () => copy(line.querySelector("code"), button));
      line.classList.add("can-copy");
      line.append(button);
    }
  }

  async function copy(code, button) {
    let isDone = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      isDone = true;
    } catch {
      // without TLS a browser gives no clipboard; what is selected can be copied all the same
      getSelection().selectAllChildren(code);
      isDone = document.execCommand("copy");
    }
    button.textContent = isDone ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  offerCopies(document);

  // keys

  const goes = { l: "/", d: "/drains", w: "/work", j: "/journal", s: "/settings", i: "/incident", p: "/plan" };
  let isGoing = false;
  let chosen = "";
  let wanted = "";

  function lanes() {
    return [...document.querySelectorAll("tbody.lane")].filter((each) => !each.hidden);
  }

  function mark() {
    for (const each of document.querySelectorAll("tbody.lane")) {
      each.classList.toggle("chosen", Boolean(chosen) && each.dataset.name === chosen);
    }
  }

  function choose(step) {
    const all = lanes();
    if (!all.length) return;
    const place = all.findIndex((each) => each.dataset.name === chosen);
    const next = all[Math.min(Math.max(place + step, 0), all.length - 1)];
    chosen = next.dataset.name;
    mark();
    next.querySelector("a.name").focus();
  }

  function filter() {
    const finds = (each) => each.dataset.name.toLowerCase().includes(wanted);
    for (const each of document.querySelectorAll("tbody.lane")) each.hidden = !finds(each);
    const quiet = document.getElementById("quiet");
    if (quiet && wanted) quiet.open = true;
  }

  function find() {
    const lane = document.getElementById("lane");
    if (lane) { lane.focus(); return; }
    if (!document.querySelector("tbody.lane")) return;
    let box = document.getElementById("find");
    if (!box) {
      box = document.createElement("input");
      box.id = "find";
      box.type = "search";
      box.setAttribute("aria-label", "Find a lane");
      box.placeholder = "find a lane";
      document.querySelector("[data-live='lanes']").before(box);
      box.addEventListener("input", () => { wanted = box.value.toLowerCase(); filter(); });
      box.addEventListener("keydown", (event) => {
        if (event.key === "Escape") { box.value = ""; wanted = ""; filter(); box.blur(); }
        if (event.key === "Enter") { const first = lanes()[0]; if (first) first.querySelector("a.name").click(); }
      });
    }
    box.focus();
  }

  function press(act) {
    const within = document.querySelector("tbody.lane.chosen") || document.querySelector(".doing, .verdict-part");
    const link = within && within.querySelector(`a[href*="/act/${act}"]`);
    if (link) link.click();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping()) return;
    const key = event.key;
    if (isGoing) {
      isGoing = false;
      if (goes[key]) location.href = base + goes[key];
      return;
    }
    if (key === "/") { event.preventDefault(); find(); }
    else if (key === "g") { isGoing = true; setTimeout(() => { isGoing = false; }, 1500); }
    else if (key === "j") choose(1);
    else if (key === "k") choose(-1);
    else if (key === "p") press("pause");
    else if (key === "r") press("resume");
    else if (key === "d") press("d");
    else if (key === "n") { const note = document.getElementById("note-text"); if (note) { event.preventDefault(); note.focus(); } }
    else if (key === "?") { const keys = document.getElementById("keys"); if (keys.open) keys.close(); else keys.showModal(); }
  });
})();
