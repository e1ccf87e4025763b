// The end of a login at a provider, in the window that the SDK opened. Pages of this origin hear of it by the storage, or by
// a message where browsers keep storage apart: nobody else can read either.
"use strict";
(() => {
  const result = JSON.parse(document.getElementById("result").textContent);
  try {
    localStorage.setItem("oauth-response", JSON.stringify(result));
    // Whoever listens has it by then.
    setTimeout(() => localStorage.removeItem("oauth-response"), 2000);
  } catch { /* no storage: the message remains */ }
  const tell = (target) => {
    try {
      target.postMessage(JSON.stringify({ oauth: result }), location.origin);
    } catch { /* not there any more */ }
  };
  if (window.opener) {
    for (let at = 0; at < window.opener.length; at += 1) tell(window.opener[at]);
    setTimeout(() => window.close(), 500);
  }
})();
