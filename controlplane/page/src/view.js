// What all views share: which one is shown, messages, questions, forms, and where the focus is.

export const $ = (id) => document.getElementById(id);

// Shows one view and moves the focus into it, so that keyboards and screen readers go on from there.
export function show(view, focus = document.querySelector(`#${view} h1`)) {
  if (!$(view).hidden) return;
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  for (const id of ['sign-in', 'lobby', 'call']) $(id).hidden = id !== view;
  document.body.dataset.view = view;
  window.scrollTo(0, 0);
  focus.focus();
}

export function toast(text) {
  const line = document.createElement('p');
  line.textContent = text;
  $('toasts').append(line);
  setTimeout(() => line.remove(), 6000);
}

// One line above everything: the most important of what is wrong at the moment.
const problems = new Map();
const byImportance = ['call', 'media', 'sound'];

export function banner(about, text) {
  if (text) problems.set(about, text);
  else problems.delete(about);
  const shown = problems.get(byImportance.find((name) => problems.has(name))) ?? '';
  if ($('banner').textContent !== shown) $('banner').textContent = shown; // screen readers say each change
}

export function clearBanner() {
  for (const about of byImportance) banner(about, null);
}

// A question with two answers. Resolves to true for `yes`; Escape is the other one.
let answer = () => {};

export function ask(question, yes) {
  const dialog = $('ask');
  answer(false); // the event of the question before may still be under way
  $('ask-question').textContent = question;
  $('ask-yes').textContent = yes;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => { answer = resolve; });
}

$('ask').addEventListener('close', () => {
  if ($('ask').open) return; // asked again meanwhile
  // The button that asked may have been drawn anew meanwhile.
  if (document.activeElement === document.body) document.querySelector('aside:not([hidden]) h2')?.focus();
  answer($('ask').returnValue === 'yes');
});

// Shows why a form was refused, where it can be seen.
export function showError(id, text) {
  $(id).textContent = text;
  if (text) $(id).scrollIntoView({ block: 'nearest' });
}

// Disables the form while `work` runs. Its error is shown in errorId; refused(error) may show it elsewhere.
export async function submitting(form, errorId, work, refused = () => false) {
  const focused = document.activeElement;
  showError(errorId, '');
  for (const control of form.elements) {
    control.disabled = true;
    control.removeAttribute('aria-invalid');
  }
  let failure = null;
  try {
    await work();
  } catch (error) {
    failure = error;
  }
  for (const control of form.elements) control.disabled = false;
  if (failure && !refused(failure)) {
    showError(errorId, failure.message);
    const field = failure.field && form.elements[failure.field];
    field?.setAttribute('aria-invalid', 'true');
    (field ?? focused).focus();
  }
}
