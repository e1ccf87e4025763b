//! What the secret of a user is called: the store removes it with him, and `auth` reads and makes it. All that the store knows of
//! what is in it is its generation.

use serde::{Deserialize, Serialize};

/// No user has a longer name, bytes.
pub const LONGEST_NAME: usize = 256;

/// The name of the secret that is a user's credentials.
pub(crate) fn credentials(app: &str, user: &str) -> String {
    format!("credentials/{app}{user}")
}

/// Credentials as they begin, in the form of [`Credentials`](crate::auth::credentials::Credentials): by them alone nobody logs in.
#[derive(Serialize)]
struct Blank {
    hash: Option<()>,
    generation: u32,
}

/// Credentials by which nobody logs in, of a generation.
pub(crate) fn blank(generation: u32) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Blank { hash: None, generation })
}

/// Of which generation credentials are.
pub(crate) fn generation_of(credentials: &[u8]) -> Result<u32, serde_json::Error> {
    #[derive(Deserialize)]
    struct Generation {
        generation: u32,
    }
    serde_json::from_slice(credentials).map(|Generation { generation }| generation)
}
