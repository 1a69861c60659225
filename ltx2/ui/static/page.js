/* What Gradio's own markup lacks for screen readers, and for languages that run from right to left. */
() => {
  const repair = () => {
    const language = document.documentElement.lang;
    document.documentElement.dir = language.startsWith("ar") ? "rtl" : "ltr";
    // A name on an element that has no role is not read out.
    for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) {
      empty.setAttribute("role", "img");
    }
    // A button inside a button is none for a screen reader: the one that closes a message stays.
    for (const header of document.querySelectorAll('.toast-header[role="button"]')) {
      header.removeAttribute("role");
    }
    // These hide the words inside: the caption of a card, what a file may be dropped for.
    for (const named of document.querySelectorAll(
      ".thumbnail-item[aria-label], .upload-container[aria-label]",
    )) {
      if (named.textContent.trim()) named.removeAttribute("aria-label");
    }
  };
  // Gradio's text fields tell their input at key presses alone: not of what is pasted, dictated,
  // deleted, or typed on a phone. They are given the press that is missing.
  let isPressed = false;
  document.addEventListener(
    "keypress",
    () => {
      isPressed = true;
      setTimeout(() => (isPressed = false), 0);
    },
    true,
  );
  document.addEventListener("input", ({ target }) => {
    if (isPressed || !target.matches("textarea, input[type=text]") || target.closest("#composer")) return;
    target.dispatchEvent(new KeyboardEvent("keypress", { key: "Unidentified" }));
  });
  let isDue = false;
  const soon = () => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      repair();
    }, 100);
  };
  new MutationObserver(soon).observe(document.documentElement, {
    childList: true,
    subtree: true,
    attributeFilter: ["lang", "aria-label", "role"],
  });
  repair();
};
