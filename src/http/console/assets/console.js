// What pages of the console do beside links and forms: times in the reader's zone, ids that can be
// copied, keys, and live pages. Without this file everything works but these.
"use strict";
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Times. The server writes UTC; the exact time stays in the title.
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  function localise(time) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) return;
    const today = at.toDateString() === new Date().toDateString();
    time.textContent = today ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
    time.title = `${whole.format(at)}\n${time.dateTime}`;
  }
  const two = (number) => String(number).padStart(2, "0");
  const field = (at) =>
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
  // A field for a time has UTC for the server, and the reader's time for the reader.
  function localiseField(input) {
    if (input.dataset.local) return;
    input.dataset.local = "yes";
    if (input.value) input.value = field(new Date(`${input.value}Z`));
    const zone = $(`[data-zone-of="${input.id}"]`);
    if (zone) zone.textContent = `(${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
  }
  function prepare(within = document) {
    all("time[datetime]", within).forEach(localise);
    all("input[type=datetime-local]", within).forEach(localiseField);
  }
  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.ask ?? event.target.dataset.ask;
    if (question && !confirm(question)) return event.preventDefault();
    for (const input of all("input[type=datetime-local]", event.target)) {
      if (!input.value || !input.dataset.local) continue;
      // The field is taken out of the form, which brings the same time in UTC instead.
      const utc = document.createElement("input");
      utc.type = "hidden";
      utc.name = input.name;
      utc.value = new Date(input.value).toISOString().slice(0, 19);
      input.removeAttribute("name");
      event.target.append(utc);
      setTimeout(() => { utc.remove(); input.name = utc.name; });
    }
  });

  // Ids.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("Copied");
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling ?? button);
    }
  });
  function say(text) {
    const state = $("#state");
    if (!state) return;
    state.textContent = text;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { state.textContent = ""; showState(); }, 2000);
  }

  // The menu closes when its reader goes on elsewhere.
  const menu = () => $(".menu[open]");
  for (const name of ["click", "focusin"]) {
    document.addEventListener(name, (event) => {
      const opened = menu();
      if (opened && !opened.contains(event.target)) opened.open = false;
    });
  }

  // Keys.
  const rows = () => all("[data-row]", $("#main") ?? document);
  function step(by) {
    const list = rows();
    if (!list.length) return;
    const now = list.findIndex((row) => row.classList.contains("current"));
    const next = Math.min(Math.max(now + by, 0), list.length - 1);
    list[now]?.classList.remove("current");
    list[next].classList.add("current");
    list[next].scrollIntoView({ block: "nearest" });
    $("a, button", list[next])?.focus({ preventScroll: true });
  }
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, dialog")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const opened = event.key === "Escape" && menu();
    if (opened) {
      opened.open = false;
      return $("summary", opened).focus();
    }
    const link = (address) => { location.href = address; };
    if (Date.now() - going < 1500) {
      going = 0;
      const to = { o: "", t: "/tasks", b: "/board", e: "/events", d: "/dead-letters", f: "/effects", p: "/processes" }[event.key];
      if (to !== undefined) return link(`/console${to}`);
    }
    switch (event.key) {
      case "/": {
        const search = $("#main [data-search], #main form.filter input, #main form.filter select");
        if (search) { event.preventDefault(); search.focus(); search.select?.(); }
        break;
      }
      case "j": step(1); break;
      case "k": step(-1); break;
      case "Enter": {
        if (event.target.closest("a, button, summary")) break;
        $("a", $("[data-row].current") ?? document.createElement("i"))?.click();
        break;
      }
      case "g": going = Date.now(); break;
      case "?": $("#help")?.showModal(); break;
    }
  });

  // Live pages. The stream says that something changed; the page then fetches itself and morphs,
  // unless its reader is selecting text or has something half written.
  let source, waiting = false, fetching = false, connected = false;
  const main = () => $("#main");
  const live = () => main()?.dataset.live;
  // A form that its reader has begun to fill in is not what the server wrote any more.
  const isChanged = (control) =>
    control.type === "checkbox" || control.type === "radio" ? control.checked !== control.defaultChecked
    : control.options ? [...control.options].some((it) => it.selected !== it.defaultSelected)
    : control.type !== "hidden" && control.defaultValue !== undefined && !control.dataset.local
      && control.value !== control.defaultValue;
  function isBusy() {
    const selection = getSelection();
    if (selection && !selection.isCollapsed && main()?.contains(selection.anchorNode)) return "selecting";
    const active = document.activeElement;
    if (active?.matches("input, textarea, select") && main()?.contains(active)) return "typing";
    if (all("form input, form select, form textarea", main()).some(isChanged)) return "typing";
    return $("dialog[open]") ? "reading" : "";
  }
  function showState() {
    const state = $("#state");
    if (!state || !live()) return;
    main().classList.toggle("old", !connected);
    const busy = waiting && isBusy();
    state.dataset.state = busy ? "paused" : connected ? "on" : "off";
    state.textContent = busy ? `paused while ${busy}` : connected ? "live" : "not connected";
  }
  async function refresh() {
    if (!waiting || fetching || document.hidden || isBusy()) return showState();
    waiting = false;
    fetching = true;
    try {
      await htmx.ajax("GET", location.pathname + location.search, {
        target: "#main", select: "#main", swap: "outerMorph",
      });
    } finally {
      fetching = false;
      showState();
      if (waiting) setTimeout(refresh, 200);
    }
  }
  let pause = 1000;
  function open() {
    if (!live() || source || document.hidden) return;
    source = new EventSource(live());
    source.addEventListener("open", () => { connected = true; pause = 1000; showState(); });
    source.addEventListener("error", () => {
      connected = false;
      showState();
      // After an answer that is no stream, a browser gives up. A proxy answers so during a restart.
      if (source?.readyState !== EventSource.CLOSED) return;
      source = undefined;
      pause = Math.min(pause * 2, 30000);
      setTimeout(() => { waiting = true; open(); refresh(); }, pause);
    });
    source.addEventListener("changed", () => { waiting = true; refresh(); });
  }
  function close() {
    source?.close();
    source = undefined;
    connected = false;
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    // Whatever has changed meanwhile is fetched at once.
    waiting = true;
    open();
    refresh();
  });
  for (const name of ["selectionchange", "focusout"]) {
    document.addEventListener(name, () => waiting && setTimeout(refresh, 300));
  }
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) { waiting = true; open(); refresh(); } });

  // What the reader did to a page outlives its refresh: open rows, the current row, local times.
  htmx.registerExtension("console", {
    htmx_before_morph_node: (_, { oldNode, newNode }) => {
      if (!(newNode instanceof Element)) return;
      if (oldNode.matches?.("[data-row].current")) newNode.classList.add("current");
      if (newNode.matches("details") && oldNode.open) newNode.open = true;
      if (newNode.matches("time[datetime]")) localise(newNode);
      if (newNode.matches("input[type=checkbox]")) newNode.checked = oldNode.checked;
      if (newNode.matches(".note")) newNode.remove();
    },
  });
  document.addEventListener("htmx:after:swap", () => prepare());
  // A page that can't be had stays as it was, and who has to sign in again is led there.
  document.addEventListener("htmx:before:swap", (event) => {
    const answer = event.detail.ctx?.response?.raw;
    if (!answer) return;
    if (answer.redirected || answer.status === 401) {
      event.preventDefault();
      location.reload();
    } else if (!answer.ok) {
      event.preventDefault();
      connected = false;
      showState();
    }
  });

  document.documentElement.classList.add("js");
  prepare();
  open();
})();
