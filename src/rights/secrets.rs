//! What the secrets of a user are called: the store removes them with him, and `auth` reads and makes them.

/// No user has a longer name, bytes.
pub const LONGEST_NAME: usize = 256;

/// The name of the secret that is a user's credentials.
pub(crate) fn credentials(app: &str, user: &str) -> String {
    format!("credentials/{app}{user}")
}

/// The name of the secret that holds the id of the user with this name.
pub(crate) fn username(app: &str, name: &str) -> String {
    format!("username/{app}/{name}")
}
