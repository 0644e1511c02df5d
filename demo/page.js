() => {
  const FILE_LIMIT = FILE_BYTES;
  const NARROW = "(max-width: 820px)";
  const MESSAGES = {
    "look-picture": "look-message",
    "compare-picture": "compare-message",
    "compare-truth": "compare-message",
    "batch-files": "batch-message",
  };

  // Light and dark: the system's choice until the button says otherwise.
  const root = document.body;
  const paint = (dark) => {
    root.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    document.querySelector("#shade")?.setAttribute("aria-pressed", String(dark));
  };
  const stored = () => {
    try { return localStorage.getItem("wsol-shade"); } catch { return null; }
  };
  const asked = new URLSearchParams(location.search).get("__theme");
  paint(asked ? asked === "dark" : stored() ? stored() === "dark" : root.classList.contains("dark"));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#shade")) return;
    const dark = !root.classList.contains("dark");
    paint(dark);
    try { localStorage.setItem("wsol-shade", dark ? "dark" : "light"); } catch { /* private mode */ }
  });

  // What goes wrong before the server is asked, or on the way there, is a sentence in the page too.
  const complain = (id, sentence) => {
    const place = document.querySelector(`#${id} .html-container > div`);
    const box = document.createElement("div");
    box.className = "alert";
    box.dataset.here = "";
    box.setAttribute("role", "alert");
    box.textContent = sentence;
    place?.replaceChildren(box);
  };
  const calmDown = () => document.querySelectorAll(".alert[data-here]").forEach((box) => box.remove());
  const openTab = () => {
    const shown = Object.values(MESSAGES).find((id) => {
      const panel = document.querySelector(`#${id}`)?.closest("[role=tabpanel]");
      return panel && getComputedStyle(panel).display !== "none";
    });
    return shown ?? "look-message";
  };
  const takeToasts = () => {
    for (const toast of document.querySelectorAll("[data-testid=toast-body].error:not([data-taken])")) {
      toast.dataset.taken = "";
      const text = toast.querySelector("[data-testid=toast-text]")?.textContent.trim();
      toast.querySelector("[data-testid=toast-close]")?.click();
      if (text) complain(openTab(), text.replace(/^HTTP \d+: /, ""));
    }
  };
  const zoneOf = (target) => {
    const zone = target.closest?.(Object.keys(MESSAGES).map((id) => `#${id}`).join(","));
    return zone ?? null;
  };
  const check = (event, files) => {
    const zone = zoneOf(event.target);
    if (zone) calmDown();
    const heavy = zone && [...(files ?? [])].find((file) => file.size > FILE_LIMIT);
    if (!heavy) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const size = Math.round(heavy.size / 1e6);
    complain(MESSAGES[zone.id], `${heavy.name} has ${size} MB; this page takes files up to ${FILE_LIMIT / 1e6} MB.`);
  };
  document.addEventListener("change", (event) => check(event, event.target.files), true);
  document.addEventListener("click", (event) => {
    if (event.isTrusted && event.target.closest("button")) calmDown();
  }, true);
  document.addEventListener("drop", (event) => check(event, event.dataTransfer?.files), true);

  // A picture pasted anywhere goes to the tab that is open.
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((f) => f.type.startsWith("image/"));
    const inputs = document.querySelectorAll("#look-picture input[type=file], #compare-picture input[type=file]");
    const input = [...inputs].find((field) => field.closest("[role=tabpanel]")?.offsetParent);
    if (!file || !input) return;
    event.preventDefault();
    const carrier = new DataTransfer();
    carrier.items.add(file);
    input.files = carrier.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // On a narrow screen the result is below: go there when a picture was chosen.
  const follow = (event) => {
    const chosen = event.target.closest?.("#look-picture, #look-examples");
    const picked = event.type === "click" ? event.target.closest("button") : event.target.files?.length;
    if (!chosen || !picked || !matchMedia(NARROW).matches) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    document.querySelector("#look-view")?.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  };
  document.addEventListener("change", follow);
  document.addEventListener("click", (event) => event.target.closest("#look-examples") && follow(event));

  // Names for what Gradio leaves nameless.
  const names = {
    "#look-picture input[type=file]": "Choose a picture",
    "#compare-picture input[type=file]": "Choose a picture to compare on",
    "#compare-truth input[type=file]": "Choose the truth mask",
    "#batch-files input[type=file]": "Choose pictures or a zip",
  };
  const christen = () => {
    for (const [place, name] of Object.entries(names)) {
      for (const field of document.querySelectorAll(place)) field.setAttribute("aria-label", name);
    }
    for (const button of document.querySelectorAll("[aria-label='common.upload']")) {
      button.setAttribute("aria-label", "Add files");
      button.title = "Add files";
    }
    // What is written in the drop zones names them.
    for (const zone of document.querySelectorAll(".upload-container:not(.icon-mode)[aria-label]")) zone.removeAttribute("aria-label");
    // One name for all radios of a group, so that arrow keys move between them.
    for (const radio of document.querySelectorAll("#look-view input[type=radio]")) radio.name = "view";
  };
  new MutationObserver(() => { christen(); takeToasts(); }).observe(document.body, { childList: true, subtree: true });
  christen();
}
