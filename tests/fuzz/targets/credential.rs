//! Any text as what a client shows to be let in or to go on: positions and tokens. Nothing panics, a position reads back
//! as itself, and no text that was not signed is a token.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use tidegate::auth::token::{Claims, Purpose, TokenKey};
use tidegate::changelog::Position;

fuzz_target!(|data: &[u8]| {
    static KEY: OnceLock<TokenKey> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse::<Position>().as_ref(), Ok(&position));
    }
    let key = KEY.get_or_init(|| TokenKey::new(&[7; TokenKey::BYTES]).unwrap());
    assert_eq!(key.verify(text, 0), None);
    // Signed, it says what it says: a name of any characters but the one that ends it.
    if text.len() < 1000 && !text.contains('\n') {
        let claims = Claims { purpose: Purpose::Session, created: 1, expires: 2, session: 3, generation: 4, user: text.into(), roles: vec![text.into()] };
        assert_eq!(key.verify(&key.sign(&claims), 1), Some(claims));
    }
});
