// Signs in with the one-time code in the address's fragment, which is never sent
// by itself, or with a pasted access token. Nothing is kept.
const form = document.querySelector("form");
const field = document.querySelector("input");
const says = document.querySelector("[role=status]");
const base = document.querySelector("meta[name=vibehq-base]").content;

const code = decodeURIComponent(location.hash.slice(1));
history.replaceState(null, "", location.pathname + location.search);
if (code) {
  field.value = code;
  field.closest("label").hidden = true;
  says.textContent = "This link signs you in once.";
  document.querySelector("button").focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  says.textContent = "Signing in …";
  try {
    const answer = await fetch(`${base}/login`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        code: field.value.trim(),
        next: new URLSearchParams(location.search).get("next") ?? "/",
      }),
    });
    const result = await answer.json();
    if (answer.ok) {
      location.replace(base + result.next);
      return;
    }
    says.textContent = result.message;
  } catch {
    says.textContent = "The server cannot be reached.";
  }
  field.value = "";
  field.closest("label").hidden = false;
});
