// The page of FFmpeg processes: what runs, how it does, its log; start, stop, restart, delete; new ones from presets.
//
// For tests and scripts, `window.whipstitch`: {state: 'loading' | 'listed' | 'denied' | 'unreachable', processes: […]}, the
// processes as `/api/v3/process?filter=config,state` gives them.

import { Refused, Unreachable, call, token } from './api.js';
import { presets } from './presets.js';
import { $, element, fill, needsToken, tokenForm } from './ui.js';

const API = '/api/v3/process';
const LOOK_EVERY_MS = 1000;
/** Readings that a plot shows. */
const PLOTTED = 60;
const LOG_LINES = 60;

const face = { state: 'loading', processes: [] };
window.whipstitch = face;

/** By id: the elements of a process, and what was read of it lately. */
const shown = new Map();

async function look() {
  if (document.hidden || face.state === 'denied') return;
  try {
    const response = await call('GET', `${API}?filter=config,state`);
    face.processes = await response.json();
    face.state = 'listed';
    show();
  } catch (error) {
    face.processes = [];
    if (needsToken(error)) deny(error);
    else {
      face.state = 'unreachable';
      $('note').textContent = inWords(error);
    }
  }
}

function inWords(error) {
  if (error instanceof Unreachable) return 'The server does not answer.';
  if (error instanceof Refused) return error.detail || `The server answered with status ${error.status}.`;
  console.error(error);
  return 'This page does not understand what the server says.';
}

/** Processes run commands: without a credential nobody sees or changes them. */
function deny(error) {
  face.state = 'denied';
  $('new').hidden = true;
  $('processes').replaceChildren();
  shown.clear();
  const why = error.status === 403
    ? 'This token is not an admin\'s.'
    : token() ? 'The token is wrong.' : 'Processes need the admin token: the one the server was started with, or that in the file it names when it starts.';
  $('note').replaceChildren(element('p', {}, why), tokenForm(() => { face.state = 'loading'; look(); }));
}

function show() {
  $('new').hidden = false;
  const ids = new Set(face.processes.map((process) => process.id));
  for (const [id, card] of shown) {
    if (!ids.has(id)) {
      card.root.remove();
      shown.delete(id);
    }
  }
  for (const process of face.processes) {
    if (!shown.has(process.id)) {
      const made = card(process.id);
      shown.set(process.id, made);
      $('processes').append(made.root);
    }
    update(shown.get(process.id), process);
  }
  $('note').textContent = face.processes.length ? '' : 'There is no process yet.';
}

function card(id) {
  const made = { id, readings: [], open: false };
  made.badge = element('span', { class: 'badge' });
  made.facts = element('span', { class: 'quiet small' });
  made.links = element('span', { class: 'row' });
  made.plot = plot();
  made.numbers = element('dl', { class: 'numbers' });
  made.log = element('pre', { class: 'log', tabindex: '0', 'aria-label': `Log of ${id}` });
  made.trouble = element('p', { class: 'notice', role: 'alert', hidden: true });
  const button = (label, act, kind) => {
    const made_button = element('button', { type: 'button', class: `small ${kind ?? ''}`.trim() }, label);
    made_button.addEventListener('click', act);
    return made_button;
  };
  made.start = button('Start', () => command(made, 'start'), 'main');
  made.stop = button('Stop', () => command(made, 'stop'), 'stop');
  made.restart = button('Restart', () => command(made, 'restart'));
  made.remove = button('Delete', () => remove(made));
  made.details = element('details', {}, element('summary', {}, 'Progress and log'), made.numbers, made.log);
  made.details.addEventListener('toggle', () => {
    made.open = made.details.open;
    if (made.open) readLog(made);
  });
  made.root = element(
    'li',
    { 'data-id': id },
    element('div', { class: 'row' }, made.badge, element('span', { class: 'name' }, id), made.facts,
      element('span', { class: 'row end' }, made.start, made.stop, made.restart, made.remove)),
    made.links,
    made.plot.root,
    made.trouble,
    made.details,
  );
  return made;
}

function update(made, process) {
  const { state, config } = process;
  const running = state.exec === 'running';
  made.badge.textContent = state.exec;
  made.badge.className = `badge ${running ? 'live' : ['failed', 'killed'].includes(state.exec) ? 'warn' : ''}`;
  const progress = state.progress ?? {};
  const number = (value) => Number(value ?? 0);
  const facts = [
    running && `${number(progress.fps).toFixed(1)} fps`,
    // What goes out by RTSP or RTP, FFmpeg does not count.
    running && number(progress.bitrate_kbit) > 0 && `${number(progress.bitrate_kbit).toFixed(0)} kbit/s`,
    running && `speed ${number(progress.speed).toFixed(2)}`,
    state.order === 'start' && state.reconnect_seconds >= 0 && !running && `again in ${state.reconnect_seconds} s`,
    !running && state.last_logline,
  ];
  made.facts.textContent = facts.filter(Boolean).join(' · ');
  made.start.hidden = state.order === 'start';
  made.stop.hidden = state.order === 'stop';
  made.restart.disabled = state.order === 'stop';
  made.readings.push(running ? number(progress.fps) : 0);
  made.readings.splice(0, made.readings.length - PLOTTED);
  made.plot.draw(made.readings);
  fill(made.numbers, [
    ['Running', `${state.runtime_seconds} s`],
    ['Frames', `${progress.frame ?? 0}`],
    ['Dropped; doubled', `${progress.drop ?? 0}; ${progress.dup ?? 0}`],
    ['Written', progress.size_kb ? `${progress.size_kb} KiB` : undefined],
    ['CPU', `${number(state.cpu_usage).toFixed(1)} %`],
    ['Memory', `${(number(state.memory_bytes) / 1048576).toFixed(0)} MiB`],
    ['Command', (state.command ?? []).join(' ')],
  ]);
  links(made, config);
  if (made.open) readLog(made);
}

/** What templates stand for that may be part of the name of a stream. */
function names(config, output) {
  return { id: config.id, processid: config.id, reference: config.reference, outputid: output.id };
}

/** Where to publish to it and to watch it. */
function links(made, config) {
  const to = (href, label) => element('a', { href, class: 'small' }, label);
  const list = [];
  if (config?.whip_ingest?.enabled) list.push(to(`/publish/${config.id}`, `Publish to ${config.id}`));
  const out = config?.whep_egress?.enabled && (config.whep_egress.stream || '{id}-out').replaceAll('{id}', config.id);
  if (out) list.push(to(`/watch/${out}`, `Watch ${out}`));
  for (const output of config?.output ?? []) {
    // As the server reads them: `{whep:NAME}` or `{whep:NAME,transport=…}`, in which other templates are put first.
    const address = output.address.replace(/\{(\w+)\}/g, (as, key) => names(config, output)[key] ?? as);
    for (const [, name] of address.matchAll(/\{whep:([^{},]+)(?:,[^{}]*)?\}/g)) {
      list.push(to(`/watch/${encodeURIComponent(name)}`, `Watch ${name}`));
    }
  }
  const wanted = list.map((link) => link.href).join(' ');
  if (made.linked === wanted) return;
  made.linked = wanted;
  made.links.replaceChildren(...list);
}

async function readLog(made) {
  try {
    const report = await (await call('GET', `${API}/${encodeURIComponent(made.id)}/report`)).json();
    const lines = (report.log ?? []).map(([, text]) => text).slice(-LOG_LINES);
    const atEnd = made.log.scrollTop + made.log.clientHeight >= made.log.scrollHeight - 4;
    made.log.textContent = lines.join('\n') || 'Nothing was said yet.';
    if (atEnd) made.log.scrollTop = made.log.scrollHeight;
  } catch (error) {
    made.log.textContent = inWords(error);
  }
}

async function act(made, work) {
  made.trouble.hidden = true;
  try {
    await work();
  } catch (error) {
    made.trouble.textContent = inWords(error);
    made.trouble.hidden = false;
  }
  look();
}

function command(made, word) {
  return act(made, () => call('PUT', `${API}/${encodeURIComponent(made.id)}/command`, {
    headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ command: word }),
  }));
}

function remove(made) {
  if (!confirm(`Delete ${made.id}? It is stopped, and its definition is gone.`)) return undefined;
  return act(made, () => call('DELETE', `${API}/${encodeURIComponent(made.id)}`));
}

/** Pictures a second, lately, as a line. */
function plot() {
  const space = 'http://www.w3.org/2000/svg';
  const root = document.createElementNS(space, 'svg');
  root.setAttribute('class', 'plot');
  root.setAttribute('viewBox', `0 0 ${PLOTTED - 1} 20`);
  root.setAttribute('preserveAspectRatio', 'none');
  root.setAttribute('role', 'img');
  const line = document.createElementNS(space, 'polyline');
  root.append(line);
  return {
    root,
    draw(readings) {
      const most = Math.max(30, ...readings);
      const from = PLOTTED - readings.length;
      line.setAttribute('points', readings.map((value, at) => `${from + at},${(19 - (18 * value) / most).toFixed(2)}`).join(' '));
      root.setAttribute('aria-label', `Pictures a second, the last ${readings.length} s: ${readings.at(-1)?.toFixed(1) ?? 0} now`);
    },
  };
}

function preset() {
  return presets.find(({ key }) => key === $('preset').value) ?? presets[0];
}

function define() {
  const { target, about, make } = preset();
  const id = $('id').value.trim() || 'p1';
  $('target-label').hidden = !target;
  $('target').required = Boolean(target);
  if (target) $('target-name').textContent = target.name;
  $('about').textContent = about(id);
  $('definition').value = JSON.stringify(make(id, $('target').value.trim()), null, 2);
}

$('preset').append(...presets.map(({ key, name }) => element('option', { value: key }, name)));
$('id').value = 'p1';
for (const field of ['id', 'target']) $(field).addEventListener('input', define);
$('preset').addEventListener('change', () => {
  $('target').value = preset().target?.value ?? '';
  define();
});
define();

$('create').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('refused').hidden = true;
  try {
    await call('POST', API, { headers: { 'Content-Type': 'application/json' }, body: $('definition').value });
  } catch (error) {
    $('refused').textContent = inWords(error);
    $('refused').hidden = false;
  }
  look();
});

look();
setInterval(look, LOOK_EVERY_MS);
document.addEventListener('visibilitychange', look);
