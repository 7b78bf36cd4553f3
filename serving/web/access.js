// The key by which this page asks: kept for this tab alone, asked for where the service wants one, gone by one click.

const KEPT = "thumbwheel.key";
const SHAPE = /^(tw-\S+|[^\s.]+\.[^\s.]+\.[^\s.]+)$/; // an API key or a signed token; a service may take all else as none
const NO_KEY = "This is no key: API keys begin with tw-, and signed tokens hold two dots.";

const $ = (id) => document.getElementById(id);
const say = (message) => { $("unknown").textContent = message; $("unknown").hidden = !message; };

export const credentials = (key = sessionStorage.getItem(KEPT)) => (key ? { Authorization: `Bearer ${key}` } : {});

// Open the dialog; `why` is what the service said of the key that it was sent, where there was one.
export function askForKey(why = "") {
  say(sessionStorage.getItem(KEPT) ? why : "");
  $("forget").hidden = !sessionStorage.getItem(KEPT);
  if (!$("access").open) $("access").showModal();
}

// Let the page take a key and let go of it. `check` rejects with what is wrong with one; `onChange` follows each change.
export function letAccess(check, onChange) {
  const change = (key) => {
    if (key) sessionStorage.setItem(KEPT, key);
    else sessionStorage.removeItem(KEPT);
    showState();
    $("access").close();
    onChange();
  };
  $("keys").addEventListener("click", () => askForKey());
  $("access").addEventListener("close", () => { $("key").value = ""; });
  $("cancel").addEventListener("click", () => $("access").close());
  $("forget").addEventListener("click", () => change(null));
  $("access").querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = $("key").value.trim();
    if (!SHAPE.test(key)) return say(NO_KEY);
    await check(credentials(key)).then(() => change(key), (error) => say(error.message));
  });
  showState();
}

function showState() {
  const kept = sessionStorage.getItem(KEPT) !== null;
  $("keys").classList.toggle("kept", kept);
  $("keys").title = kept ? "A key is in use in this tab" : "Enter an API key";
}
