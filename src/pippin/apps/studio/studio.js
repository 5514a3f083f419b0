// Keyboard: rows that can be chosen and columns that sort take the focus, Enter and Space. Quasar's table has no option
// for this, and rows built by a template of ours would lose the focus at each update of the page.
(() => {
  const named = {
    '.rows thead .q-checkbox': 'Select all',
    '.rows tbody .q-checkbox': 'Select',
  };
  const focusable = '.rows.choice tbody tr, .rows thead th.sortable';
  const complete = () => {
    for (const one of document.querySelectorAll(focusable)) if (!one.hasAttribute('tabindex')) one.tabIndex = 0;
    for (const [which, label] of Object.entries(named))
      for (const one of document.querySelectorAll(which))
        if (!one.hasAttribute('aria-label')) one.setAttribute('aria-label', label);
  };
  new MutationObserver(complete).observe(document.documentElement, {childList: true, subtree: true});
  document.addEventListener('keydown', (event) => {
    if ((event.key !== 'Enter' && event.key !== ' ') || !event.target.matches(focusable)) return;
    event.preventDefault();
    event.target.click();
  });
})();
