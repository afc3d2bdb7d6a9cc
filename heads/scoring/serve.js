// A click or a key on a drawing plays the file from there; a line in all drawings shows where it is.
(() => {
  const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
  const player = (node) => node.closest("#results .clip")?.querySelector("audio");

  function show(audio) {
    const clip = audio.closest("#results .clip");
    if (!clip) return;
    const share = Math.min(1, audio.currentTime / clip.dataset.seconds);
    clip.querySelectorAll(".head").forEach((head) => (head.style.left = `${100 * share}%`));
    const slider = clip.querySelector(".wave");
    slider.setAttribute("aria-valuenow", audio.currentTime.toFixed(1));
    slider.setAttribute("aria-valuetext", clock(audio.currentTime));
  }

  function play(audio) {
    document.querySelectorAll("#results audio").forEach((other) => other !== audio && other.pause());
    audio.play().catch(() => {});
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#results .all a");
    if (link) {
      event.preventDefault();
      const clip = document.querySelector(link.hash);
      clip.open = true;
      clip.querySelector("summary").focus({ preventScroll: true });
      clip.scrollIntoView({ behavior: "smooth" });
      return;
    }
    const plot = event.target.closest?.("#results .plot");
    if (!plot) return;
    const audio = player(plot);
    const box = plot.getBoundingClientRect();
    audio.currentTime = ((event.clientX - box.left) / box.width) * plot.closest(".clip").dataset.seconds;
    show(audio);
    play(audio);
  });

  document.addEventListener("keydown", (event) => {
    if (!event.target.matches?.("#results .wave")) return;
    const audio = player(event.target);
    const end = Number(event.target.getAttribute("aria-valuemax"));
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -end, End: end };
    if (event.key in steps) {
      audio.currentTime = Math.min(end, Math.max(0, audio.currentTime + steps[event.key]));
      show(audio);
    } else if (event.key === "Enter" || event.key === " ") {
      audio.paused ? play(audio) : audio.pause();
    } else {
      return;
    }
    event.preventDefault();
  });

  // Events of players do not rise to the document, but can be caught on their way down.
  const heard = (name, act) => document.addEventListener(name, (event) => event.target.matches?.("#results audio") && act(event.target), true);
  heard("timeupdate", show);
  heard("seeked", show);
  heard("play", play);
  heard("error", (audio) => {
    audio.hidden = true;
    audio.nextElementSibling.hidden = false;
  });
})();
