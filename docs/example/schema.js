// Declares the board's class, once. As root: ROOT_PASSWORD=… node schema.js [server]
'use strict';

const { db, metamodel: { EntityType, SingularAttribute } } = require('baqend');

async function main() {
  await db.connect(process.argv[2] ?? 'http://127.0.0.1:8080/v1');
  await db.User.login('root', process.env.ROOT_PASSWORD);
  const card = new EntityType('Card', db.metamodel.entity(Object));
  db.metamodel.addType(card);
  for (const name of ['text', 'column', 'owner', 'author']) {
    card.addAttribute(new SingularAttribute(name, db.metamodel.baseType(String)));
  }
  // Everybody may look; to add a card one must be logged in.
  card.insertPermission.allowAccess('/db/Role/3');
  await db.metamodel.save();
  console.log('The board is ready.');
}

main().then(() => process.exit(0), (error) => {
  console.error(error.message);
  process.exit(1);
});
