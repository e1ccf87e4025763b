//! Any bytes as a record of the change log: decoded or refused without a panic, and what is decoded encodes to itself.
#![no_main]

use dataflows::document::DateFields;
use libfuzzer_sys::fuzz_target;
use tidegate::changelog::record::{decode, encode};

fuzz_target!(|data: &[u8]| {
    let Ok(record) = decode(data) else { return };
    // Images are texts that the store parsed before it wrote them; here they may be any JSON.
    let _ = record.change(&DateFields::default());
    let again = encode(&record).unwrap();
    assert_eq!(decode(&again).unwrap(), record);
});
