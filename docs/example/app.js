// A shared board: everybody sees every card, whoever is logged in adds some, and each changes his own.
'use strict';

const { db } = window.Baqend;
const COLUMNS = [['todo', 'To do'], ['doing', 'Doing'], ['done', 'Done']];
// Where the server is: `?api=` for one that is not on this machine.
const API = new URLSearchParams(location.search).get('api') ?? 'http://127.0.0.1:8080/v1';

const $ = (selector, within = document) => within.querySelector(selector);
const fresh = (id) => $(`#${id}`).content.firstElementChild.cloneNode(true);
const isMine = (card) => db.User.me !== null && card.owner === db.User.me.id;

// What goes wrong is told in the page; the next success takes it away.
async function attempt(action) {
  try {
    await action();
    $('#trouble').hidden = true;
  } catch (error) {
    $('#trouble').textContent = error.message;
    $('#trouble').hidden = false;
  }
}

// ---- cards -------------------------------------------------------------------------------------------------

let cards = [];
const versions = new Map();

async function add(column, text) {
  const card = new db.Card({ text, column, owner: db.User.me.id, author: db.User.me.username });
  // Without a rule everybody may read; to write it takes the owner.
  card.acl.allowWriteAccess(db.User.me);
  await card.insert();
}

async function change(card, changes) {
  Object.assign(card, changes);
  try {
    await card.update();
  } catch (error) {
    // What the server refused has not happened: not in this window either.
    await card.load({ refresh: true }).catch(() => null);
    render();
    throw error;
  }
}

function listen() {
  // The result comes at once, and again after every change of it, whoever made it. Streams know no order yet.
  db.Card.find().resultStream(
    (result) => {
      cards = result.sort((a, b) => a.createdAt - b.createdAt || a.id.localeCompare(b.id));
      $('#status').textContent = 'live';
      render();
    },
    (error) => {
      $('#status').textContent = `not live: ${error.message}`;
    },
  );
}

// ---- the page ----------------------------------------------------------------------------------------------

function chip(node, name) {
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  node.textContent = name;
  node.style.setProperty('--hue', hue);
}

function show(card) {
  const node = fresh('card');
  const at = COLUMNS.findIndex(([id]) => id === card.column);
  node.dataset.id = card.id;
  node.classList.toggle('mine', isMine(card));
  // Flashes when somebody has just made or changed it.
  node.classList.toggle('moved', versions.size > 0 && versions.get(card.id) !== card.version);
  $('.text', node).textContent = card.text;
  chip($('.who', node), card.author);
  const on = (tool, action) => $(tool, node).addEventListener('click', () => attempt(action));
  $('.back', node).disabled = at === 0;
  $('.on', node).disabled = at === COLUMNS.length - 1;
  on('.back', () => change(card, { column: COLUMNS[at - 1][0] }));
  on('.on', () => change(card, { column: COLUMNS[at + 1][0] }));
  on('.drop', () => card.delete());
  $('.edit', node).addEventListener('click', () => edit(card, node));
  return node;
}

function edit(card, node) {
  const input = Object.assign(document.createElement('input'), { value: card.text, maxLength: 200 });
  input.setAttribute('aria-label', 'Text');
  $('.text', node).replaceChildren(input);
  input.focus();
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') attempt(() => change(card, { text: input.value.trim() || card.text }));
    if (event.key === 'Escape') render();
  });
}

function render() {
  for (const [id] of COLUMNS) {
    const section = $(`#${id}`);
    const those = cards.filter((card) => card.column === id);
    $('.count', section).textContent = those.length;
    $('ol', section).replaceChildren(...those.map(show));
    $('.new', section).hidden = db.User.me === null;
  }
  versions.clear();
  for (const card of cards) versions.set(card.id, card.version);
  $('#door').hidden = db.User.me !== null;
  $('#me').hidden = db.User.me === null;
  if (db.User.me !== null) chip($('#me .who'), db.User.me.username);
}

function furnish() {
  for (const [id, title] of COLUMNS) {
    const section = fresh('column');
    section.id = id;
    $('.title', section).textContent = title;
    $('.new', section).addEventListener('submit', (event) => {
      event.preventDefault();
      const { text } = event.target.elements;
      attempt(async () => {
        await add(id, text.value.trim());
        text.value = '';
      });
    });
    $('#board').append(section);
  }
  $('#door').addEventListener('submit', (event) => {
    event.preventDefault();
    const { username, password } = event.target.elements;
    const enter = event.submitter.value === 'register' ? 'register' : 'login';
    attempt(async () => {
      await db.User[enter](username.value, password.value);
      password.value = '';
      render();
    });
  });
  $('#leave').addEventListener('click', () => attempt(async () => {
    await db.User.logout();
    render();
  }));
}

furnish();
db.connect(API).then(() => {
  render();
  listen();
}, (error) => {
  $('#status').textContent = `no server at ${API}: ${error.message}`;
});
