// What each key does. Where something is typed, and where arrows scroll, they keep their meaning.

function listenToKeys(app) {
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = actions(app, event.target)[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function actions(app, target) {
  const { timeline, state } = app;
  const pass = (by) => app.go(timeline.next(state.step, by), Boolean(target.closest?.(".steps")));
  const everywhere = {
    ArrowRight: () => pass(1),
    ArrowLeft: () => pass(-1),
    Home: () => app.go(0),
    End: () => app.go(timeline.listed().at(-1)),
    "/": () => app.search.input.focus(),
    "+": () => app.main().zoom(1.25),
    "-": () => app.main().zoom(0.8),
    0: () => app.main().fit(),
    n: () => app.nextChange(1),
    N: () => app.nextChange(-1),
    m: () => app.nextMode(),
    Escape: () => app.back(),
  };
  if (target.closest?.(".steps")) return { ...everywhere, ArrowDown: () => pass(1), ArrowUp: () => pass(-1) };
  if (target.closest?.(".panel, .timeline, header, .tools, .crumbs")) return everywhere;
  return { ...everywhere, ArrowDown: () => walk(app, true), ArrowUp: () => walk(app, false), Enter: () => app.enter() };
}
