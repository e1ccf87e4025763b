// Sends the token of the fragment with the new password. The fragment is taken off the address at once: it stands in no
// history and on no screen from then on.
"use strict";
(() => {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  history.replaceState(null, "", location.pathname);
  const part = (id) => document.getElementById(id);
  const say = (text) => { part("said").textContent = text; };
  if (!token) say("This link is not whole. Open the one in the mail.");
  part("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const newPassword = part("password").value;
    if (newPassword !== part("again").value) return say("The two are not the same.");
    try {
      const answer = await fetch("password", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ token, newPassword }),
      });
      if (answer.ok) {
        part("form").remove();
        say("Your password is set. You can log in with it now.");
      } else {
        say((await answer.json()).message);
      }
    } catch {
      say("The server does not answer. Try again.");
    }
  });
})();
