// Start of the page: explorers in place of still figures, an address that points at a time or a voxel, print.
const MAKERS = { sequence: Timeline, stacks: Stacks };

for (const root of document.querySelectorAll(".explorer")) {
  const data = JSON.parse(root.querySelector("script").textContent);
  root.querySelector(".live").hidden = false;
  root.classList.add("on");
  new MAKERS[root.dataset.kind](root, data);
}

function follow() {
  const [id, place] = decodeURIComponent(location.hash.slice(1)).split(":");
  const root = place === undefined ? null : document.getElementById(id);
  if (!root || !root.explorer) return;
  root.explorer.go(place);
  root.scrollIntoView({ block: "center" });
}
window.addEventListener("hashchange", follow);
follow();

for (const button of document.querySelectorAll("button.unfold")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const all = [...button.parentElement.querySelectorAll("details")], open = !all.every((part) => part.open);
    for (const part of all) part.open = open;
    button.textContent = open ? "fold all" : "unfold all";
  });
}

let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const part of opened) part.open = true;
});
window.addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
