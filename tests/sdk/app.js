// An app on the unmodified SDK: what the README promises to its users, and the order in which they see it.
'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const { EntityManagerFactory, metamodel: types, GeoPoint } = require('baqend');

const { SERVER, PASSWORD } = process.env;
const step = (name) => console.log(`ok ${name}`);

// Between client and server, so that connections can be dropped as a network drops them.
function relay(target) {
  const sockets = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(target.port), target.hostname);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on('data', (data) => to.write(data));
      from.on('close', () => { sockets.delete(from); to.destroy(); });
      from.on('error', () => to.destroy());
    }
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({
      url: `http://127.0.0.1:${server.address().port}/v1`,
      drop: () => sockets.forEach((socket) => socket.destroy()),
      close: () => { server.close(); sockets.forEach((socket) => socket.destroy()); },
    }));
  });
}

// Events in their order, awaited one by one.
class Inbox {
  constructor(stream) {
    this.all = [];
    this.read = 0;
    this.wake = () => {};
    this.heard = () => {};
    this.subscription = stream.subscribe(
      (event) => { this.heard(event); this.all.push(event); this.wake(); },
      (error) => { this.failure = error; this.wake(); },
    );
  }

  async next() {
    while (this.all.length === this.read) {
      if (this.failure) throw this.failure;
      await new Promise((resolve) => { this.wake = resolve; });
    }
    this.read += 1;
    return this.all[this.read - 1];
  }
}

const ids = (list) => list.map((object) => object.id).sort();

async function connected(host) {
  const emf = new EntityManagerFactory({ host });
  await emf.ready();
  // Its tokens are those of the factory, so that a login is one of the schema's messages as well.
  const db = emf.createEntityManager(true);
  await db.ready();
  return { emf, db };
}

async function main() {
  const { emf, db: first } = await connected(SERVER);
  assert.ok(emf.metamodel.entity('User'));
  step('connect');

  const root = await first.User.login('root', PASSWORD);
  assert.equal(root.id, '/db/User/1');
  assert.equal(first.me, root);
  step('login as root');

  const { metamodel } = emf;
  const person = new types.EntityType('Person', metamodel.entity(Object));
  metamodel.addType(person);
  for (const [name, type] of [['name', String], ['age', Number], ['born', Date], ['home', GeoPoint]]) {
    person.addAttribute(new types.SingularAttribute(name, metamodel.baseType(type)));
  }
  person.addAttribute(new types.ListAttribute('colors', metamodel.baseType(String)));
  await metamodel.save();
  // A manager knows the classes that there were when it was made.
  const db = emf.createEntityManager(true);
  await db.ready();
  step('declare a class');

  // Another client, which learns of the class from the server, through connections that can be dropped.
  const through = await relay(new URL(SERVER));
  const { emf: otherEmf, db: other } = await connected(through.url);
  assert.deepEqual(otherEmf.metamodel.entity('Person').declaredAttributes.map((attribute) => attribute.name), ['name', 'age', 'born', 'home', 'colors']);

  const born = new Date('1990-05-17T10:30:00.250Z');
  const ada = new db.Person({ key: 'ada/ß?&', name: 'Ada', age: 36, born, home: new GeoPoint(53.5, 10), colors: ['red', 'blue'] });
  await ada.insert();
  assert.equal(ada.version, 1);
  assert.ok(ada.createdAt instanceof Date && ada.createdAt.getTime() === ada.updatedAt.getTime());
  await new db.Person({ name: 'Bob', age: 20 }).insert();
  const third = emf.createEntityManager(true);
  await third.ready();
  await assert.rejects(new third.Person({ key: 'ada/ß?&', name: 'Eve' }).insert(), { status: 409 });
  step('insert');

  const loaded = await other.Person.load('ada/ß?&');
  assert.deepEqual([loaded.id, loaded.name, loaded.age, loaded.born, loaded.home.latitude, [...loaded.colors]], [ada.id, 'Ada', 36, born, 53.5, ['red', 'blue']]);
  assert.equal(await other.Person.load('nobody'), null);
  step('load');

  const adults = () => other.Person.find().greaterThanOrEqualTo('age', 30);
  assert.deepEqual(ids(await adults().resultList()), [ada.id]);
  assert.deepEqual(ids(await other.Person.find().equal('born', born).resultList()), [ada.id]);
  assert.deepEqual((await other.Person.find().descending('age').resultList()).map((one) => one.name), ['Ada', 'Bob']);
  assert.equal((await other.Person.find().in('colors', 'blue', 'green').singleResult()).id, ada.id);
  step('query');

  assert.equal(await adults().count(), 1);
  assert.equal(await other.Person.find().count(), 2);
  step('count');

  const far = new Inbox(adults().eventStream());
  const initial = await far.next();
  assert.deepEqual([initial.matchType, initial.initial, initial.data.id], ['add', true, ada.id]);
  const cyd = new db.Person({ name: 'Own', age: 40 });
  await cyd.insert();
  const added = await far.next();
  assert.deepEqual([added.matchType, added.operation, added.initial, added.data.id, added.data.name], ['add', 'insert', false, cyd.id, 'Own']);
  step('add at the other client');

  // A writer who listens hears of his own writes, and never before he has his answer.
  let answered = cyd.version;
  let early = 0;
  const own = new Inbox(db.Person.find().equal('name', 'Own').eventStream());
  assert.equal((await own.next()).initial, true);
  own.heard = (event) => { if (event.data.version > answered) early += 1; };
  for (let age = 41; age < 61; age += 1) {
    cyd.age = age;
    await cyd.save();
    answered = cyd.version;
    const changed = await far.next();
    assert.deepEqual([changed.matchType, changed.operation, changed.data.age], ['change', 'update', age]);
    const heard = await own.next();
    assert.deepEqual([heard.matchType, heard.operation], ['change', 'update']);
  }
  assert.equal(early, 0, 'an event came before the answer to its writer');
  step('change, and answers before events');

  cyd.age = 3;
  await cyd.save();
  const left = await far.next();
  assert.deepEqual([left.matchType, left.operation, left.data.id], ['remove', 'update', cyd.id]);
  cyd.age = 70;
  await cyd.save();
  assert.equal((await far.next()).matchType, 'add');
  await cyd.delete();
  const deleted = await far.next();
  assert.deepEqual([deleted.matchType, deleted.operation, deleted.data.id], ['remove', 'delete', cyd.id]);
  step('remove by update and by delete');
  own.subscription.unsubscribe();
  far.subscription.unsubscribe();

  // A role belongs to whoever makes it, also where nobody has touched its list, which the SDK then sends as an empty one.
  const joe = await db.User.register('joe', 'a password', db.User.LoginOption.NO_LOGIN);
  const ann = emf.createEntityManager();
  await ann.ready();
  await ann.User.register('ann', 'a password');
  const role = new ann.Role({ name: 'dealers' });
  role.addUser(ann.User.me);
  await role.insert();
  role.addUser(ann.getReference(joe.id));
  await role.save();
  const stranger = emf.createEntityManager();
  await stranger.ready();
  for (const log of [async () => {}, () => stranger.User.login('joe', 'a password')]) {
    await log();
    const foreign = await stranger.Role.load(role.id, { refresh: true });
    assert.deepEqual([foreign.users.size, Object.keys(foreign.acl.toJSON().write).sort()], [2, ['/db/Role/1', ann.User.me.id].sort()]);
    foreign.addUser(stranger.getReference(root.id));
    await assert.rejects(foreign.save(), { status: 466 });
    await assert.rejects(foreign.partialUpdate().add('users', stranger.getReference(root.id)).execute(), { status: 466 });
  }
  const mine = await ann.Role.load(role.id, { refresh: true });
  mine.removeUser(ann.getReference(joe.id));
  await mine.save();
  assert.equal((await stranger.Role.load(role.id, { refresh: true })).users.size, 1);
  step('a role is its creator\'s');

  const results = new Inbox(adults().resultStream());
  assert.deepEqual(ids(await results.next()), [ada.id]);
  through.drop();
  const missed = new db.Person({ name: 'Missed', age: 50 });
  await missed.insert();
  let result = await results.next();
  while (result.length < 2) result = await results.next();
  assert.deepEqual(ids(result), ids([ada, missed]));
  await missed.delete();
  assert.deepEqual(ids(await results.next()), [ada.id]);
  results.subscription.unsubscribe();
  through.close();
  step('a dropped socket comes back with the result as it is');
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
