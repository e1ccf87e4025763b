//! What the secret of a user is called: the store removes it with him, and `auth` reads and makes it.

/// No user has a longer name, bytes.
pub const LONGEST_NAME: usize = 256;

/// The name of the secret that is a user's credentials.
pub(crate) fn credentials(app: &str, user: &str) -> String {
    format!("credentials/{app}{user}")
}
