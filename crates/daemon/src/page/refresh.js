(() => {
  const lost = document.getElementById("lost");
  const said = document.getElementById("said");
  let heard = Date.now();
  const refresh = async () => {
    if (!document.hidden && getSelection().type !== "Range") {
      try {
        const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(2000) });
        if (!answer.ok) throw new Error(answer.statusText);
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        document.querySelector("main").replaceWith(next.querySelector("main"));
        document.title = next.title;
        document.querySelector("link[rel=icon]").href = next.querySelector("link[rel=icon]").href;
        const headline = document.querySelector("h1").textContent;
        if (said.textContent !== headline) said.textContent = headline;
        heard = Date.now();
        lost.hidden = true;
      } catch {
        lost.textContent = `No answer for ${Math.round((Date.now() - heard) / 1000)} s: what you see is that old.`;
        lost.hidden = false;
      }
    }
    setTimeout(refresh, 1000);
  };
  setTimeout(refresh, 1000);
})();
