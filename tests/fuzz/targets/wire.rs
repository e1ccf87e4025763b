//! Any text as a message of a client: it is read or refused without a panic, what is read keeps its bounds, and what is
//! said about it is JSON with the client's own id.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::live::messages::{self, ClientMessage, ID_BYTES};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let id = match messages::parse(text) {
        Ok(ClientMessage::Unsubscribe { id }) => Some(id),
        Ok(ClientMessage::Subscribe(subscribe)) => {
            assert!(!subscribe.bucket.is_empty() && !subscribe.bucket.contains('/'));
            assert!(!subscribe.query.is_empty());
            assert!(subscribe.extensions || subscribe.position.is_none());
            Some(subscribe.id)
        }
        Err(malformed) => {
            let quoted = malformed.id.as_deref().map(messages::quoted);
            let message = messages::error(quoted.as_deref(), &malformed.refused);
            let said: serde_json::Value = serde_json::from_str(&message.text).unwrap();
            assert_eq!(said["id"].as_str(), malformed.id.as_deref());
            assert_eq!(said["error"]["status"], 400);
            malformed.id
        }
    };
    assert!(id.is_none_or(|id| !id.is_empty() && id.len() <= ID_BYTES));
});
