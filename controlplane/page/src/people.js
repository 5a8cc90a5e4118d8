// The panel of the people in a meeting, and what a host may do with them.

import { session } from './api.js';
import { $, ask, toast } from './view.js';

const roleNames = { host: 'Host', co_host: 'Co-host', participant: '' };

export const nameOf = (call, userId) =>
  call?.participants.find((p) => p.userId === userId)?.displayName ?? 'Somebody';

export function drawPeople(call, grid) {
  const { participants } = call;
  const me = participants.find((p) => p.userId === session.user.id);
  const role = me?.role ?? call.role;

  grid.keep([session.user.id, ...participants.map((p) => p.userId)]);
  for (const p of participants) {
    if (p.userId === session.user.id) continue;
    const tile = grid.ensure(p.userId, p.displayName);
    if (!tile.querySelector('audio')?.srcObject) grid.setMuted(tile, true);
  }
  $('call-count').textContent = participants.length === 1 ? 'Only you' : `${participants.length} people`;
  const focused = document.activeElement?.dataset.action;
  $('people-list').replaceChildren(...participants.map((p) => line(call, p, role)));
  $('host-actions').hidden = role !== 'host' && role !== 'co_host';
  $('close-room').hidden = role !== 'host';
  if (focused) ($('people-list').querySelector(`[data-action="${focused}"]`) ?? $('people').querySelector('h2')).focus();
}

function line(call, p, role) {
  const item = document.createElement('li');
  const name = document.createElement('span');
  name.className = 'name';
  name.textContent = p.displayName + (p.userId === session.user.id ? ' (you)' : '');
  name.title = p.displayName;
  const badge = document.createElement('small');
  badge.textContent = roleNames[p.role] ?? '';
  item.append(name, badge);
  if ((role === 'host' || role === 'co_host') && p.userId !== session.user.id && p.role !== 'host') {
    const actions = document.createElement('div');
    actions.className = 'row';
    if (role === 'host')
      actions.append(action(call, p, p.role === 'co_host' ? 'Make participant' : 'Make co-host',
        'room:changeRole', { newRole: p.role === 'co_host' ? 'participant' : 'co_host' }));
    actions.append(action(call, p, 'Remove', 'room:kick', {}, `Remove ${p.displayName} from the meeting?`));
    item.append(actions);
  }
  return item;
}

function action(call, { userId, displayName }, text, event, fields, question) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = text;
  button.setAttribute('aria-label', `${text}: ${displayName}`);
  button.dataset.action = `${event} ${userId}`; // finds the button again after the list was drawn anew
  button.addEventListener('click', async () => {
    if (!question || await ask(question, text)) hostAction(call, event, { targetUserId: userId, ...fields });
  });
  return button;
}

async function hostAction(call, event, fields = {}) {
  try {
    const { mutedCount } = await call.request(event, { roomId: call.roomId, ...fields });
    if (event === 'room:muteAll') {
      const who = { 0: 'Nobody else is here to be muted.', 1: 'One person is muted now.' };
      toast(who[mutedCount] ?? `${mutedCount} people are muted now.`);
    }
  } catch (error) {
    if (!call.ended) toast(error.message);
  }
}

export function listenToPeople(current) {
  $('mute-all').addEventListener('click', () => hostAction(current(), 'room:muteAll'));
  $('close-room').addEventListener('click', async () => {
    const call = current();
    if (await ask('End the meeting for everybody?', 'End for all')) hostAction(call, 'room:close');
  });
}
